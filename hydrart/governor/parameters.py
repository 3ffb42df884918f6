"""The governor's parameters: each with its unit, its source, and the effects of half and twice its value.

These are the numbers that were chosen or measured and could be others. All other numbers of the governor follow from
them, from what a device profile says, or from a fact that stands beside the code. docs/governor-parameters.md shows the
measured effects of half and twice each value. `python -m tools.sensitivity` makes that page.
"""

from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Description(NamedTuple):
    """A parameter in words. Its source begins with `measured` or `chosen`."""

    unit: str
    meaning: str
    source: str
    half: str
    twice: str


def parameter(value: T, unit: str, meaning: str, source: str, half: str, twice: str) -> T:
    """A dataclass field with this default, and with the description as its metadata."""
    description = Description(unit, meaning, source, half, twice)
    return field(default=value, metadata={"description": description})


@dataclass(frozen=True)
class Parameters:
    """All parameters of the governor.

    Example: Governor(profile, fps=15, parameters=Parameters(patience=8)).
    """

    miss_price: float = parameter(
        0.5,
        "right answers",
        "Price of a missed frame, on top of the answer that is lost. It is the user's: `--miss-price`, and "
        "`miss_price` of `Governor`.",
        "chosen: a missed frame is half an answer worse than a wrong one",
        "Larger ks at more risk: more late frames.",
        "Fewer late frames, less accuracy.",
    )
    window: int = parameter(
        800,
        "frames",
        "Errors that the distribution of the latencies is made of. What noise brings once in a window counts as noise; "
        "what one error in a window decides is no reason to switch.",
        "chosen: eight frames beyond the 99th percentile",
        "A change of the scatter is learnt sooner, rare tails are forgotten sooner.",
        "Rare tails are remembered for longer.",
    )
    memory: int = parameter(
        20,
        "frames or readings",
        "What a running mean remembers; also the start of the distribution, from the profile's jitter, and how long a "
        "larger k must hold.",
        "chosen: a second or two of frames",
        "The estimates follow faster and are noisier.",
        "The estimates are steadier and follow more slowly.",
    )
    patience: int = parameter(
        5,
        "frames or readings",
        "Frames between a switch and the next one upwards; doubted readings in a row that are believed.",
        "chosen",
        "Climbs back faster after a slow frame: more switches. A sensor that is stuck is believed.",
        "Climbs back more slowly. True jumps of the temperature are followed later.",
    )
    noise: float = parameter(
        0.03,
        "share of a time",
        "Times that differ by less count as equal: the least scatter, the least gain in time of a climb, a wait after "
        "which a frame is still fresh.",
        "chosen: 2 ms at 15 frames a second, the timers of a quiet machine",
        "A quiet machine takes small steps for noise less often; larger ks are tried sooner.",
        "Small steps of the load are learnt as slowly as noise; larger ks are tried later.",
    )
    tail_index: float = parameter(
        3.0,
        "Pareto index",
        "Beyond the largest error observed, the distribution falls with this index.",
        "measured: Hill's estimate from the largest 5 % of the errors is 3.0 on the trace `short` and 4.4 on "
        "`recorded`; the heavier tail is taken",
        "What was never seen is feared more: smaller ks.",
        "What was never seen is feared less.",
    )
    forget_s: float = parameter(
        60.0,
        "s",
        "Time after which what happened says little: the corrections of each k and the surroundings' drift fade with "
        "it, and the power of other things is averaged over it.",
        "chosen: a minute",
        "A k that was too slow is tried again sooner; the power limit follows the last seconds.",
        "A k that was too slow is avoided for longer, also after the cause has gone.",
    )
    horizon_s: float = parameter(
        20.0,
        "s",
        "Time ahead for which the temperature target must hold. A power limit that changed, and what failed, are tried "
        "again after it.",
        "chosen: long against the sensors' period, short against a case's time constant",
        "Steers by what is near: more accuracy at once, more switches near the limit.",
        "Steers as if the present power lasted for longer: cooler, with less accuracy.",
    )
    sensor_c: float = parameter(
        1.0,
        "K",
        "Step of a thermometer. A reading errs by a uniform distribution of this width, at least.",
        "chosen: what coarse sensors of boards show",
        "Nearer to the target; jumps are doubted sooner.",
        "Further from the target; the model follows more slowly.",
    )
    below_throttling_c: float = parameter(
        2.0,
        "K",
        "Without a target, the target is so far below where the profile says that the device throttles.",
        "chosen: the worst overshoot in docs/governor-results.md is 1.1 C",
        "More accuracy in the heat, throttles more easily.",
        "Less accuracy in the heat.",
    )

    @property
    def outlier(self) -> float:
        """The standard deviations that a Gaussian's noise exceeds once in a window."""
        return NormalDist().inv_cdf(1 - 1 / self.window)


DEFAULTS = Parameters()


def described(parameters: Parameters) -> dict[str, tuple[Any, Description]]:
    """Name -> value and description, in the order of the fields."""
    return {
        entry.name: (getattr(parameters, entry.name), entry.metadata["description"]) for entry in fields(parameters)
    }
