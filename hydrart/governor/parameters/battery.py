"""The parameters of governor/battery.py, and of the check of power readings in governor/limits.py."""

from dataclasses import dataclass

from hydrart.governor.parameters.description import parameter


@dataclass(frozen=True)
class BatteryParameters:
    """How the governor follows charge and power (governor/battery.py)."""

    reserve: float = parameter(
        0.005,
        "share of the capacity",
        "What is kept at the end: gauges are wrong, most of all when the battery is nearly empty.",
        "chosen: half a step of a gauge that shows whole percents",
        "Ends nearer to empty.",
        "Ends with more left.",
    )
    gauge_gain: float = parameter(
        0.03,
        "share",
        "Share of the difference between gauge and count that a reading corrects.",
        "chosen: a gauge's step of 1 % is spread over half a minute of readings",
        "A wrong count is corrected more slowly.",
        "The gauge's steps show in the power limit.",
    )
    wrong: float = parameter(
        0.2,
        "share of the capacity",
        "Difference between gauge and count from which a reading is doubted.",
        "chosen",
        "True jumps are doubted.",
        "Wrong readings are believed.",
    )
    doubts: int = parameter(
        10,
        "readings",
        "Doubted readings in a row after which the gauge is right.",
        "chosen",
        "A gauge that is stuck is believed.",
        "A battery that was changed is noticed later.",
    )
    others_s: float = parameter(
        300.0,
        "s",
        "Time over which the draw of everything else is averaged: a peak of it is no reason to change k.",
        "chosen",
        "k follows what others draw.",
        "A lasting change of what others draw is met later.",
    )
    fall: float = parameter(
        0.02,
        "share of the capacity",
        "What must be gone before anything is learnt from the gauge's fall.",
        "chosen: two steps of a gauge that shows whole percents",
        "A step of the gauge counts for more than it tells.",
        "Capacity and others' draw are known later.",
    )
    others_gain: float = parameter(
        0.05,
        "share",
        "Share by which a reading of the gauge moves the draw of everything else, where no sensor tells it.",
        "chosen",
        "Others' draw is learnt more slowly.",
        "The gauge's steps show in the power limit.",
    )
    even_s: float = parameter(
        60.0,
        "s",
        "What was saved is spent within this time, and no draw is judged over less.",
        "chosen: long against a period, short against a battery's life",
        "Less is carried from one limit to the next.",
        "Larger swings of the power limit.",
    )
    power_factor: float = parameter(
        5.0,
        "factor",
        "A power reading that is so many times less than the table says, or so many times more (and a watt), is wrong.",
        "chosen: no device draws a fifth of what it needs",
        "A power table that is off by three is never corrected by the sensor.",
        "Wrong readings of the power count.",
    )
