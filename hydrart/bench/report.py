"""The report of a benchmark as text and as JSON."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from hydrart.bench.benchmark import BenchReport
from hydrart.bench.machine import MachineState
from hydrart.format.architecture import listing
from hydrart.output.text import fitted, table

_COLUMNS = (
    " k|GMACs|executed|p50 ms|p95 ms|min ms|pictures/s|GOP/s|of peak|first ms|switch|speed-up"
    "|weights MB|memory MB|top-1"
)
_PEERS = " k|peer|version|asked|last block|executed|p50 ms|p95 ms|min ms|/ hydrart|error|correlation|prepared s"
_BUSY = 0.2  # cores that other programs keep busy; an idle system needs less


def as_json(report: BenchReport) -> dict[str, Any]:
    """The JSON object of `hydrart bench --json`: every field of the report under its name."""
    return asdict(report)


def title(report: BenchReport) -> str:
    """Model, precision, machine and threads, on one line."""
    r = report
    return f"{r.model} in {r.precision} on {r.machine.cpu} ({r.machine.isa}), {_count(r.threads, 'thread')}"


def as_text(report: BenchReport, columns: int | None = None) -> str:
    """The report for people: tables with aligned columns. columns: of the terminal; None for a file or pipe."""
    return fitted("\n".join(_lines(report, columns)), columns)


def _lines(r: BenchReport, columns: int | None) -> Iterator[str]:
    size, here = r.image_size, r.machine
    ran = r.precision if r.executed == r.precision else f"{r.precision} (computed in {r.executed})"
    if r.others_load is not None and r.others_load >= _BUSY:
        yield (
            f"other programs kept {r.others_load:.1f} of {_count(here.cores, 'core')} busy, so these times are too "
            "long: end them and measure again"
        )
    yield (
        f"{r.model}: {ran}, {size}x{size} pixels, heads {listing(r.heads)}, "
        f"{_count(r.threads, 'thread')}, batch {r.batch}"
        + (f", blocks merge {', '.join(map(str, r.merges))} tokens" if r.merges else "")
    )
    yield f"{here.cpu}, {_count(here.cores, 'core')}, {here.isa}; {here.system}"
    yield f"hydrart {here.hydrart}, Python {here.python}, NumPy {here.numpy}, Numba {here.numba}"
    yield f"peak of {_count(r.peak.threads, 'thread')}: {r.peak.gops:.1f} GOP/s ({r.peak.dot} in registers)"
    yield ""
    yield from table(
        _COLUMNS.split("|"),
        [
            (
                str(row.k),
                f"{row.gmacs:.3f}",
                f"{row.gmacs_executed:.3f}",
                *_times(row.times),
                f"{row.pictures_per_s:.1f}",
                f"{row.gops:.1f}",
                _or_unknown(row.share_of_peak, ".1%"),
                f"{row.first_call.first_ms:.1f}",
                _or_unknown(row.switch, ".3f"),
                "-" if row.speedup is None else f"{row.speedup:.2f}",
                f"{row.weights_mb:.1f}",
                _or_unknown(row.first_call.memory_mb, ".1f"),
                _or_unknown(row.top1, ".2%"),
            )
            for row in r.rows
        ],
        columns,
    )
    yield "first: first call of a new process; switch: first call after a switch to this k / steady state"
    yield "speed-up: time with one thread / time with all threads, median over the rounds"
    yield "memory: of a process that runs only this k, beyond that of a process with a tiny model"
    if any(row.peers for row in r.rows):
        yield ""
        yield from table(
            _PEERS.split("|"),
            [
                (
                    str(row.k),
                    peer.name,
                    peer.version,
                    peer.precision,
                    "all tokens" if peer.plain else "class token",
                    peer.executed or "unknown",
                    *(_times(peer.times) if peer.times else ["-"] * 3),
                    f"{peer.ratio:.2f}" if peer.ratio else "disagrees",
                    _or_unknown(peer.error, ".1e"),
                    _or_unknown(peer.correlation, ".4f"),
                    f"{peer.prepare_ms / 1e3:.1f}",
                )
                for row in r.rows
                for peer in row.peers
            ],
            columns,
            keys=2,
        )
        yield "/ hydrart: its time / hydrart's, median over the rounds; error, correlation: of both runtimes' logits"
    yield ""
    yield from table(
        ["frame", "pixels", "to input, p50 ms", "p95 ms", "min ms"],
        [(p.frame, f"{p.width}x{p.height}", *_times(p.times)) for p in r.preprocessing],
        columns,
    )
    yield ""
    if r.switching.first_p50 is not None:
        yield (
            f"switch of k: the first call takes {r.switching.first_p50:.3f} of the steady state "
            f"(p95 {r.switching.first_p95:.3f}, {r.switching.switches} switches)"
        )
    growth = _or_unknown(r.empty_growth.growth_kb, ".0f")
    yield f"memory after {r.empty_growth.switches:,} random switches of a tiny network: {growth} KB more"
    waiting = _or_unknown(r.idle.waiting_percent, ".1f")
    yield (
        f"k={r.idle.k} at {r.idle.rate_fps:g} fps: reached {r.idle.reached_fps:.1f} fps, "
        f"CPU {r.idle.cpu_percent:.0f} % of a core, {waiting} % while waiting"
    )
    yield f"before: {_state(r.before)}; peak {r.peak.gops:.1f} GOP/s"
    yield f"after:  {_state(r.after)}; peak {r.peak_after.gops:.1f} GOP/s"
    if any(row.share_of_peak is None for row in r.rows):
        yield "a share of the peak is unknown where other programs held the cores while the peak was measured"
    yield f"measured in {r.seconds:.0f} s"


def _state(state: MachineState) -> str:
    throttled = {None: "unknown", True: "yes", False: "no"}[state.throttled]
    if state.throttled is None and state.throttle_events is not None:
        throttled = f"{state.throttle_events} times since the start"
    return (
        f"{_or_unknown(state.temp_c, '.0f')} °C, throttled {throttled}, "
        f"{_or_unknown(state.frequency_mhz, '.0f')} MHz, governor {state.governor or 'unknown'}, "
        f"load {_or_unknown(state.load, '.2f')}"
    )


def _times(times: Any) -> list[str]:
    return [f"{value:.2f}" for value in (times.p50_ms, times.p95_ms, times.min_ms)]


def _or_unknown(value: float | None, form: str) -> str:
    return "unknown" if value is None else format(value, form)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
