"""hydrart simulate"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import NamesOption, accuracy_names, device_names, policy_names, trace_names
from hydrart.cli.options import FilePath, Number, json_option, print_json, warn
from hydrart.device.profiles import load_device
from hydrart.errors import ProfileError
from hydrart.lab.accuracy import model_accuracy
from hydrart.resources import find
from hydrart.targets import refuse_inputs

# column -> its field, and why it is empty
_EMPTY = {
    "energy": ("energy_j", "the device profile has no power_w"),
    "throttled": ("throttled_s", "the device profile has no thermal.throttle_c"),
    "over target": ("over_target_c_s", "there is no target: see --max-temp"),
    "settles in": ("settle_frames", "the load never changes in a step that holds"),
    "battery ends": ("battery_end_h", "the device profile has no battery"),
}
HEADER = "policy          late   dropped  accuracy   energy  throttled  over target  switches  settles in  battery ends"


def show(outcomes: Iterable[Any], world: Any, as_json: bool) -> None:
    """A line for each policy, as it comes."""
    if not as_json:
        click.echo(HEADER)
    lines = []
    for outcome in outcomes:
        line = outcome.as_dict(world)
        lines.append(line)
        if as_json:
            print_json(line)
        else:
            click.echo(as_text(line))
    empty = [f"{name} ({why})" for name, (key, why) in _EMPTY.items() if all(line[key] is None for line in lines)]
    if empty and not as_json:
        warn(f"empty columns: {', '.join(empty)}")


def read_by(device: str | None, accuracy: str | None, trace: str | None = None) -> list[Path]:
    """The files behind these options. Raises ProfileError."""
    places = ((device, "devices", ".yaml"), (accuracy, "devices/accuracy", ".yaml"), (trace, "devices/traces", ".csv"))
    return [find(name, folder, suffix, ProfileError) for name, folder, suffix in places if name is not None]


def as_text(line: Mapping[str, Any]) -> str:
    """A row of the table."""

    def known(name: str, digits: int, unit: str) -> str:
        return "" if line[name] is None else f"{line[name]:.{digits}f} {unit}"

    return (
        f"{line['policy']:14} {line['miss_rate']:6.2%} {line['dropped']:8d} {line['accuracy']:9.2%} "
        f"{known('energy_j', 0, 'J'):>10} {known('throttled_s', 0, 's'):>9} {known('over_target_c_s', 0, 'C s'):>13} "
        f"{line['switches_per_min']:5.1f}/min {known('settle_frames', 1, 'frames'):>12} "
        f"{known('battery_end_h', 2, 'h'):>12}"
    )


@click.command()
@click.option(
    "--device", cls=NamesOption, names=device_names, required=True, help="Device profile: a name, or a YAML file."
)
@click.option("--trace", cls=NamesOption, names=trace_names, required=True, help="Trace: a name, or a CSV file.")
@click.option("--fps", default=15.0, type=Number(0.1, 1000), help="Frames a second.")
@click.option("--duration", default=1800.0, type=Number(0.1, 1e6), metavar="S", help="Seconds to simulate.")
@click.option("--seed", default=1, type=click.IntRange(0), help="Seed of the random numbers.")
@click.option("--policy", "chosen", cls=NamesOption, names=policy_names, default="governor", help="Who chooses k.")
@click.option(
    "--accuracy",
    cls=NamesOption,
    names=accuracy_names,
    default=None,
    help="Accuracies: a name, or a YAML file of k: top-1.  [default: of the model that ships]",
)
@click.option("--max-temp", default=None, type=Number(1, 150), metavar="C", help="Temperature to stay below.")
@click.option("--until", default=None, type=Number(0.001, 1e4), metavar="H", help="Hours that the battery shall last.")
@click.option(
    "--miss-price",
    default=None,
    type=Number(0, 1e6),
    metavar="P",
    help="Price of a missed frame for the governor, in right answers.  [default: 0.5]",
)
@click.option("--charge", default=1.0, type=Number(0.0001, 1), help="Charge of the battery at the start.")
@click.option("--plot", default=None, type=FilePath(), help="PNG to draw the run into.")
@json_option
@one_sentence
def simulate(
    *,
    device: str,
    trace: str,
    fps: float,
    duration: float,
    seed: int,
    chosen: str,
    accuracy: str | None,
    max_temp: float | None,
    until: float | None,
    miss_price: float | None,
    charge: float,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Let a policy choose k on a simulated device.

    Frames come at a fixed rate. The trace says what happens to the device meanwhile.
    """
    from hydrart.lab import policies
    from hydrart.lab import simulate as simulation
    from hydrart.lab.trace import load_trace

    if plot is not None:
        from hydrart.plotting import check_target

        check_target(plot)
        refuse_inputs(plot, read_by(device, accuracy, trace))
    goals = simulation.Goals(fps, max_temp, until, miss_price)
    world = simulation.World(
        load_device(device), load_trace(trace), model_accuracy(accuracy), goals, duration, seed, charge
    )
    names = policies.names(world) if chosen == "all" else (chosen,)
    outcomes = policies.run(world, names)
    show(outcomes.values(), world, as_json)
    if plot is not None:
        from hydrart.lab.plot import draw

        draw(world, next(iter(outcomes.values())), plot)
