"""The parameters of governor/latency.py."""

from dataclasses import dataclass

from hydrart.governor.parameters.description import parameter


@dataclass(frozen=True)
class LatencyParameters:
    """How the governor learns latencies from frames (governor/latency.py). Errors and slow-downs are logarithms."""

    window: int = parameter(
        800,
        "frames",
        "Errors that the distribution of the scatter is made of; also the memory of how often the load steps up.",
        "chosen: eight frames beyond the 99th percentile",
        "A change of the scatter is learnt sooner, rare tails are forgotten sooner.",
        "Rare tails are remembered for longer.",
    )
    prior: int = parameter(
        50,
        "frames",
        "Errors drawn from the profile's jitter that fill the distribution at the start.",
        "chosen: a few seconds of frames",
        "The first frames count for more than the profile.",
        "The profile counts for more than the first frames.",
    )
    gain: float = parameter(
        0.15,
        "share",
        "Share of an ordinary error that moves the shared slow-down.",
        "chosen",
        "Drifts of the load are followed more slowly; noise moves the estimate less.",
        "Drifts are followed faster; noise moves the estimate more.",
    )
    outlier: float = parameter(
        3.0,
        "scatters",
        "An error beyond so many scatters is a step of the load or a tail, not noise.",
        "chosen: 3 standard deviations of a Gaussian leave 0.3 % outside",
        "Noise is taken for steps.",
        "Small steps of the load are learnt only as slowly as noise.",
    )
    scatter_range: tuple[float, float] = parameter(
        (0.02, 0.3),
        "logarithm",
        "Bounds of the estimated scatter.",
        "chosen: the timers of a quiet machine, and a scatter in which steps drown",
        "Outliers are found on a machine that scatters widely, where they are noise.",
        "A quiet machine takes small steps for noise.",
    )
    own_gain: float = parameter(
        0.04,
        "share",
        "Share of an ordinary error that moves the correction of the k that ran.",
        "chosen",
        "A wrong table of idle latencies is corrected more slowly.",
        "The load's changes are blamed on the k that happens to run.",
    )
    own_gain_at_switch: float = parameter(
        0.5,
        "share",
        "The same for an outlier that came with a change of k: it may be the load's or the new k's.",
        "chosen: even odds",
        "A k that suffers more than others is found out later.",
        "All of the change is blamed on the new k.",
    )
    neighbours: int = parameter(
        3,
        "heads",
        "A correction also reaches the ks so many heads away, halved with every head.",
        "chosen: beyond, the share is below a tenth",
        "Neighbours of a k that is too slow are tried, one by one.",
        "One k's bad luck counts against more of the others.",
    )
    forget_s: float = parameter(
        60.0,
        "s",
        "Time constant with which the corrections fade, so that a k that was too slow is tried again.",
        "chosen: a minute",
        "A k that was too slow is tried again sooner.",
        "A k that was too slow is avoided for longer, also after the cause has gone.",
    )
    levels: int = parameter(
        24,
        "steps",
        "Slow-downs after steps upwards that are remembered; from the highest, no further step is expected.",
        "chosen",
        "Rare heavy loads are forgotten sooner.",
        "A load that never comes back is feared for longer.",
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
    memory: int = parameter(
        20,
        "frames",
        "Events that the running mean of the scatter and the count of slow frames remember.",
        "chosen: a second or two of frames",
        "Both follow faster and are noisier.",
        "Both are steadier and follow more slowly.",
    )
    repeat_prior: tuple[float, float] = parameter(
        (0.05, 2.5),
        "frames",
        "As if so many slow frames had been followed by another, of so many slow frames, before the first frame.",
        "chosen: a slow frame comes alone until two came in a row",
        "The first real slow frames count for more.",
        "It takes more real slow frames to learn that they come in pairs.",
    )
