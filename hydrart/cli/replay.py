"""hydrart replay"""

from pathlib import Path

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import NamesOption, accuracy_names, device_names, policy_names
from hydrart.cli.options import FilePath, Number, json_option, warn
from hydrart.cli.simulate import read_by, show
from hydrart.device.profiles import Device, SensorNames, load_device
from hydrart.governor.points import Jitter
from hydrart.lab.accuracy import logged_accuracy, model_accuracy
from hydrart.targets import refuse_inputs


@click.command()
@click.argument("log", type=FilePath())
@click.option(
    "--device",
    cls=NamesOption,
    names=device_names,
    default=None,
    help="Device profile: idle latencies, powers, heat.  [default: from the log]",
)
@click.option("--fps", default=None, type=Number(0.1, 1000), help="Frames a second.  [default: as logged]")
@click.option("--policy", "chosen", cls=NamesOption, names=policy_names, default="governor", help="Who chooses k.")
@click.option(
    "--accuracy",
    cls=NamesOption,
    names=accuracy_names,
    default=None,
    help="Accuracies: a name, or a YAML file of k: top-1.  [default: of the run's weights]",
)
@click.option("--max-temp", default=None, type=Number(1, 150), metavar="C", help="Temperature to stay below.")
@click.option("--plot", default=None, type=FilePath(), help="PNG to draw the run into.")
@json_option
@one_sentence
def replay(
    log: Path,
    device: str | None,
    fps: float | None,
    chosen: str,
    accuracy: str | None,
    max_temp: float | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Let a policy choose again for the frames of a log.

    LOG is the output of `hydrart run --json`. The first row of the table is the run itself.
    """
    from hydrart.lab import policies, simulate
    from hydrart.lab import replay as replaying

    if plot is not None:
        from hydrart.plotting import check_target

        check_target(plot)
        refuse_inputs(plot, [log, *read_by(device, accuracy)])
    run = replaying.read_log(log)
    if run.runs > 1:
        warn(f"{log} holds {run.runs} runs: this is the last one")
    table = logged_accuracy(run.weights) if accuracy is None else None
    if table is None:
        table = model_accuracy(accuracy)
        if accuracy is None:
            warn("the log names no network with a known accuracy: hydravit-cifar10's stands for it, or give --accuracy")
    known = (
        load_device(device)
        if device is not None
        else Device("the log's machine", "", {}, {}, None, Jitter(), None, None, SensorNames())
    )
    known = replaying.device_of(run, known, tuple(sorted(table)))
    goals = simulate.Goals(fps or run.fps, max_temp)
    duration_s = float(run.t_s[-1]) + 1 / goals.fps
    world = simulate.World(known, replaying.trace_of(run, known), table, goals, duration_s, seed=0)
    outcomes = policies.run(world, policies.names(world) if chosen == "all" else (chosen,))
    show((replaying.as_it_was(run, world), *outcomes.values()), world, as_json)
    if not as_json:
        warn("late counts dropped frames, which the summary of a run does not; what a log does not hold is empty")
    if plot is not None:
        from hydrart.lab.plot import draw

        draw(world, next(iter(outcomes.values())), plot)
