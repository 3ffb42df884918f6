"""The parameters of governor/governor.py and governor/switching.py."""

from dataclasses import dataclass

from hydrart.governor.parameters.description import parameter


@dataclass(frozen=True)
class ChoiceParameters:
    """How the governor chooses k for every frame (governor/governor.py), and when k may rise (switching.py)."""

    late_price: float = parameter(
        1.5,
        "right answers",
        "Price of a late frame, on top of the answer that is lost.",
        "chosen; docs/governor-results.md shows what 7 and 12 bring",
        "Larger ks at more risk: more late frames.",
        "Fewer late frames, less accuracy.",
    )
    stay: float = parameter(
        0.004,
        "share of the accuracy",
        "What another k must gain over the present one before it is worth a switch.",
        "chosen",
        "More switches for the same accuracy.",
        "Fewer switches; small gains are left.",
    )
    climb_margin: float = parameter(
        0.03,
        "share of the time left",
        "What a larger k must leave free beyond what the present one must.",
        "chosen",
        "Larger ks are tried sooner, and given up more often.",
        "Larger ks are tried later.",
    )
    unmeasured_margin: float = parameter(
        0.15,
        "share of the time left",
        "The same for a k whose latency nobody has measured.",
        "chosen: a latency that is scaled by the multiply-accumulates is rough",
        "An unknown k is tried sooner.",
        "An unknown k is tried later.",
    )
    dwell_frames: int = parameter(
        4,
        "frames",
        "Frames between a switch and the next one upwards.",
        "chosen",
        "Climbs back faster after a slow frame; more switches.",
        "Climbs back more slowly.",
    )
    trial_frames: int = parameter(
        30,
        "frames",
        "A climb that does not hold for so long has failed; the wait before that k is tried again doubles.",
        "chosen: one or two seconds of video",
        "A climb counts as held sooner; more late frames where the load swings.",
        "A climb counts as failed where another program comes a second later.",
    )
    retry_s: float = parameter(
        20.0,
        "s",
        "Wait before more is tried again: always after a change of the power limit, at most after failed climbs "
        "and between frames where nothing can be in time.",
        "chosen: long against the sensors' period, short against a case's time constant",
        "More switches near the power limit; what failed is tried more often.",
        "Accuracy is left for longer after the cause has gone.",
    )
    slack: float = parameter(
        0.05,
        "share of the period",
        "What timers may be off by: a frame that waited for less is fresh, a computation that is so near its end is "
        "over.",
        "chosen: 3 ms at 15 frames a second",
        "More frames count as stale where even the smallest k is late.",
        "Staler frames are answered where even the smallest k is late.",
    )
    calm_cores: float = parameter(
        0.5,
        "cores",
        "When other programs use so much less than at their busiest, what their load did is half forgotten.",
        "chosen; no trace has this reading",
        "Noise of the reading counts as relief.",
        "Only the end of a whole core's load counts.",
    )
    calm_s: float = parameter(
        10.0,
        "s",
        "Wait between two such reliefs, so that a load that swings brings none at each swing.",
        "chosen; no trace has this reading",
        "More climbs that fail where the load swings.",
        "Relief comes later.",
    )
    unknown_accuracy: float = parameter(
        0.5,
        "share",
        "Without measured accuracies, a line from here (no heads) to 1 (all heads) stands for them.",
        "chosen: half",
        "Larger ks are worth more risk.",
        "All ks are worth the same: the smallest runs.",
    )
