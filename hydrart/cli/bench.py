"""hydrart bench"""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from hydrart.bench.peers import PEERS, Peer, make_peer
from hydrart.bench.shapes import choose_heads, parse_ranges, parse_shape, random_weights
from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.listing import WeightsCommand
from hydrart.cli.options import FilePath, Number, json_option, merge_option, print_json, threads_option, warn
from hydrart.engine.variants import AUTO, PRECISION_CHOICES
from hydrart.errors import SettingError, WeightFileError
from hydrart.format.merging import Merge
from hydrart.format.precision import FP32
from hydrart.format.reader import WeightFile
from hydrart.model import Model, load
from hydrart.output.text import columns_of
from hydrart.resources import DEFAULT_WEIGHTS, find
from hydrart.targets import refuse_inputs, refuse_twice


class _Heads(click.ParamType[Any]):
    """Numbers and ranges of heads with commas between, such as 3,6-12."""

    name = "heads"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return parse_ranges(value, ",")
        except SettingError as error:
            self.fail(str(error), param, ctx)


@click.command(cls=WeightsCommand)
@click.argument("weights", required=False)
@click.option("--shape", default=None, help="Random weights: hydravit-b, or heads=3-12,depth=12,head_dim=64,...")
@click.option("--k", "ks", type=_Heads(), multiple=True, help="Heads, such as 6, 3,6,12 or 3-12.  [default: all]")
@click.option(
    "--precision",
    default="auto",
    type=click.Choice(PRECISION_CHOICES),
    help="Precision of the weights, in this file or in one beside it.",
)
@threads_option
@click.option("--batch", default=1, type=click.IntRange(1, 4096), help="Pictures at a time.")
@click.option(
    "--against",
    multiple=True,
    help="Compare with onnxruntime, openvino or torch; repeat for several. openvino:int8 names a precision; "
    "openvino:int8:plain computes all tokens in the last block, as a graph from PyTorch's exporter does.",
)
@merge_option
@click.option("--rate", default=15.0, type=Number(0.1, 1000), help="Frames a second at which to measure the CPU use.")
@click.option("--repeats", default=None, type=click.IntRange(1, 10_000), help="Rounds of timing.  [default: by time]")
@click.option("--save", default=None, type=FilePath(), help="Device profile to write the latencies to.")
@click.option("--plot", default=None, type=FilePath(), help="PNG to draw accuracy and latency into.")
@click.option("--quick", is_flag=True, help="Measure the fewest and the most heads only, in a quarter of the time.")
@json_option
@one_sentence
def bench(
    *,
    weights: str | None,
    shape: str | None,
    ks: tuple[list[tuple[int, int]], ...],
    precision: str,
    threads: int | None,
    batch: int,
    against: tuple[str, ...],
    merge: Merge,
    rate: float,
    repeats: int | None,
    save: Path | None,
    plot: Path | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Measure how fast this machine runs a network.

    WEIGHTS is a file or the name of one that ships; --shape measures a network of any shape instead.
    """
    if weights is not None and shape is not None:
        raise click.UsageError("WEIGHTS and --shape exclude each other")
    if batch > 1 and (against or save):
        raise click.UsageError("--against and --save are for one picture at a time: leave --batch out")
    if merge and (against or save):
        raise click.UsageError("--against and --save are for all tokens: leave --merge out")
    # imported here because Numba takes longer to import than everything else together
    from hydrart import plotting
    from hydrart.bench import benchmark, report
    from hydrart.bench import save as saving

    refuse_twice(save, plot)
    if plot is not None:
        plotting.check_target(plot)
    if save is not None:
        saving.check_profile(save)
    asked = [pair for pairs in ks for pair in pairs]
    with ExitStack() as stack:
        progress = _Progress()
        stack.callback(progress.end)
        if shape is None:
            path = find(weights or DEFAULT_WEIGHTS, "weights", ".safetensors", WeightFileError)
            refuse_inputs(plot, [path])
            arch = WeightFile(path).meta.architecture
        else:
            arch = parse_shape(shape)
        chosen = choose_heads(asked, arch) or arch.heads  # raises for a wrong k before the long part
        for k in chosen:
            arch.merges(k, merge)  # raises before the long part
        if quick and not asked:
            chosen = tuple(sorted({chosen[0], chosen[-1]}))
        if shape is not None:
            progress.stage("random weights")
            path = stack.enter_context(random_weights(arch, FP32.name if precision == AUTO else precision))
        progress.stage("kernels")
        progress.end()  # the message about compiling has its own line
        model = load(path, precision=precision, threads=threads)
        name = model.file.path.stem if shape is None else f"{shape}, random weights"
        plan = benchmark.BenchPlan(chosen, batch, rate, repeats, _peers(against, model), quick, merge)
        result = benchmark.measure(model, name, plan, progress.stage, progress.warn)
    if as_json:
        print_json(report.as_json(result))
    else:
        click.echo(report.as_text(result, columns_of(sys.stdout)))
    if save is not None:
        saving.save_latencies(save, {row.k: row.times.p50_ms for row in result.rows}, report.title(result))
    if plot is not None:
        from hydrart.bench.chart import draw

        draw(result, plot)


def _peers(against: tuple[str, ...], model: Model) -> list[Peer]:
    """The peers that were asked for. One without a precision gets that of the weights where it can, else fp32."""
    peers = []
    for asked in dict.fromkeys(against):
        name, *how = asked.split(":")
        plain = how[-1:] == ["plain"]
        if plain:
            how.pop()
        if not how:
            how = [model.precision if model.precision in PEERS.get(name, ()) else FP32.name]
        peers.append(make_peer(name, model.file, ":".join(how), model.threads, plain))
    return peers


class _Progress:
    """The current step on stderr: one changing line on a terminal, a line per step elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()

    def stage(self, text: str) -> None:
        if self._live:
            click.echo(f"\r\x1b[K{text} ...", nl=False, err=True)
        else:
            warn(text)

    def warn(self, text: str) -> None:
        self.end()
        warn(text)

    def end(self) -> None:
        if self._live:
            click.echo("\r\x1b[K", nl=False, err=True)
