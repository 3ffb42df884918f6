"""The parameters of governor/thermal.py."""

from dataclasses import dataclass

from hydrart.governor.parameters.description import parameter
from hydrart.governor.points import Stage


@dataclass(frozen=True)
class ThermalParameters:
    """How the governor identifies the thermal model, and how near to the target it steers (governor/thermal.py).

    The first value of a pair holds with a device profile's thermal model, the second without.
    """

    stages: tuple[Stage, ...] = parameter(
        (Stage(3.0, 5.0), Stage(4.0, 60.0), Stage(5.0, 400.0)),
        "K/W, s",
        "Where the profile has no thermal model: the stages to start from.",
        "chosen: the order of magnitude of the boards in devices/",
        "The device is taken to be cooler and quicker until it is identified.",
        "The device is taken to be warmer and slower until it is identified.",
    )
    prior_std: tuple[float, float] = parameter(
        (0.3, 1.0),
        "share of the resistance",
        "Standard deviation of a stage's resistance at the start.",
        "chosen: profiles are off by a third; without one only the order of magnitude is known",
        "Identified more slowly.",
        "Identified faster from the first, noisy, readings.",
    )
    base_std_c: float = parameter(
        15.0,
        "K",
        "Standard deviation of the temperature without power, at the start.",
        "chosen: from a cold room to a hot case",
        "A wrong start is corrected more slowly.",
        "The first readings move the base more and the resistances less.",
    )
    drift: float = parameter(
        0.15,
        "K/sqrt(s)",
        "How fast the temperature without power wanders (sun, case).",
        "chosen: 1.2 K a minute",
        "Changes of the surroundings are blamed on the device: it gets warmer than the target.",
        "The device's own warmth is blamed on the surroundings.",
    )
    memory: int = parameter(
        20,
        "readings",
        "Readings that the mean squared error of the predictions remembers.",
        "chosen",
        "Trust in the model comes and goes faster.",
        "Trust in the model comes and goes more slowly.",
    )
    trend_s: float = parameter(
        15.0,
        "s",
        "Time over which the drift is averaged to a trend.",
        "chosen",
        "The trend is noisier.",
        "The trend comes later.",
    )
    horizons_s: tuple[float, ...] = parameter(
        (3.0, 8.0, 20.0),
        "s",
        "Times ahead at which the target must hold. A trend of the surroundings goes on for half of the longest.",
        "chosen: around the time constants of a die and a heat sink",
        "Steers by what is near: more accuracy at once.",
        "Steers as if the present power lasted for longer: cooler, with less accuracy.",
    )
    gate_c: float = parameter(
        5.0,
        "K",
        "A reading that is off by less is believed at once; the most that one reading may count for.",
        "chosen: more than noise and a sensor's step, less than a wrong reading is off by",
        "True jumps are doubted.",
        "Wrong readings are believed.",
    )
    gate_std: float = parameter(
        4.0,
        "standard deviations",
        "The same in units of the model's error, whichever is larger.",
        "chosen",
        "No change where the model is sure.",
        "Wrong readings are believed where the model is unsure.",
    )
    doubts: tuple[int, int] = parameter(
        (5, 15),
        "readings",
        "Doubted readings in a row after which they are believed: warmer ones, colder ones.",
        "chosen: to err towards warmer costs less",
        "A sensor that is stuck is believed.",
        "A true jump is followed later.",
    )
    sure_after: tuple[int, int] = parameter(
        (10, 60),
        "readings",
        "Readings before the model steers instead of the rule.",
        "chosen: the span of the fastest stage, and of the middle one",
        "A model that is not identified steers.",
        "The rule, which is coarser, steers for longer.",
    )
    sure_std_c: float = parameter(
        1.0,
        "K",
        "Error of the predictions below which the model is trusted.",
        "chosen: a sensor's step",
        "The rule steers more often.",
        "A worse model is trusted.",
    )
    reading_var_c2: float = parameter(
        0.05,
        "K^2",
        "Variance of a reading, at least.",
        "chosen: 0.2 K of noise and a step of 0.1 K or more",
        "The model follows the readings' noise.",
        "The model follows more slowly.",
    )
    margin_c: float = parameter(
        0.2,
        "K",
        "Distance that is always kept from the target.",
        "chosen: the noise of a reading",
        "Nearer to the target.",
        "Cooler, with less accuracy.",
    )
    margin_std: float = parameter(
        0.5,
        "standard deviations",
        "Further distance, in units of the model's error, up to twice sure_std_c.",
        "chosen",
        "Nearer to the target while unsure.",
        "Cooler while unsure.",
    )
    stale_s_per_c: float = parameter(
        30.0,
        "s/K",
        "Without a reading, a kelvin of distance more after so long, up to gate_c.",
        "chosen",
        "More careful while the sensor is silent.",
        "Less careful while the sensor is silent.",
    )
    rule_band_c: float = parameter(
        10.0,
        "K",
        "Distance below the target at which the rule begins to steer.",
        "chosen; Linux takes the distance between two trip points of the board's device tree",
        "The rule steers late and hard.",
        "The rule steers early and gently.",
    )
    rule_mean_s: float = parameter(
        30.0,
        "s",
        "Time over which the power is averaged that the rule takes for sustainable.",
        "chosen",
        "The rule follows the last seconds: it swings.",
        "The rule is slower.",
    )
    below_throttling_c: float = parameter(
        2.0,
        "K",
        "Without a target, the target is so far below where the profile says that the device throttles.",
        "chosen: the worst overshoot in docs/governor-results.md is 1.1 C",
        "More accuracy in the heat, throttles more easily.",
        "Less accuracy in the heat.",
    )
