"""All of `hydrart bench` in one call. This module plans and collects; the modules beside it measure."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hydrart.bench import idle, memory, peak, switch_cost
from hydrart.bench.contest import PeerResult, contest
from hydrart.bench.idle import Idle
from hydrart.bench.machine import Machine, MachineState, machine, state
from hydrart.bench.memory import FirstCall, Growth
from hydrart.bench.peak import Peak
from hydrart.bench.peers import Peer
from hydrart.bench.shapes import HYDRAVIT_B, random_weights
from hydrart.bench.switch_cost import SwitchCost
from hydrart.bench.timing import Times, interleave, timed
from hydrart.codegen import isa
from hydrart.device import linux
from hydrart.format.merging import Merge
from hydrart.format.precision import FP32
from hydrart.model import Model

FRAMES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080)}  # width, height

TIMING_S = 100  # time for all ks and peers together; each contestant gets 2 s to 10 s of it


@dataclass(frozen=True)
class BenchPlan:
    """What to measure.

    - ks: numbers of heads.
    - batch: pictures per call; 1 where there are peers.
    - rate: frames per second of the idle test.
    - repeats: rounds of timing; None for as many as fit into the time.
    - peers: runtimes to compare with.
    - quick: whether each part gets only a quarter of its time.
    - merge: how many tokens each block merges, as Model.logits takes it; 0 where there are peers.
    """

    ks: tuple[int, ...]
    batch: int = 1
    rate: float = 15.0
    repeats: int | None = None
    peers: Sequence[Peer] = ()
    quick: bool = False
    merge: Merge = 0


@dataclass(frozen=True)
class BenchRow:
    """The measurements of one k.

    - parameters: number of weights and biases of the network.
    - gmacs: billions of multiply-accumulates of the whole network per picture.
    - gmacs_executed: the part of them that the answer needs (peak.needed_macs).
    - weights_mb: megabytes of the file that this k reads.
    - top1: accuracy that the file records, 0 to 1; None where it records none, and where tokens are merged.
    - times: of one call.
    - pictures_per_s: at the median time.
    - gops: billions of executed operations per second at the median time, two per multiply-accumulate.
    - share_of_peak: gops over the larger of the two Peak.gops. In int8 the products of attention are fp32. None where
      it is above 1: other programs held the cores while the peaks were measured.
    - first_call: of a fresh process.
    - switch: time of the first call after a switch to this k, over the steady state.
    - speedup: time with one thread over time with all; None where the model has one thread.
    - peers: the other runtimes with this k.
    """

    k: int
    parameters: int
    gmacs: float
    gmacs_executed: float
    weights_mb: float
    top1: float | None
    times: Times
    pictures_per_s: float
    gops: float
    share_of_peak: float | None
    first_call: FirstCall
    switch: float | None
    speedup: float | None
    peers: list[PeerResult]


@dataclass(frozen=True)
class PreprocessRow:
    """Times of the preprocessing. frame: name of the frame's size; width, height: in pixels."""

    frame: str
    width: int
    height: int
    times: Times


@dataclass(frozen=True)
class BenchReport:
    """One run of the benchmark.

    - model, precision, image_size, heads, threads, batch: what was measured, and how.
    - merges: how many tokens each block merged; () for none.
    - executed: the precision in which the linear layers compute on this CPU.
    - machine, before, after: the machine, and its state before and after the run.
    - peak, peak_after: measured before and after the run. The second is lower where the machine slowed down, or where
      other programs used the cores.
    - rows: the measurements of each k. switching: the cost of switching k.
    - empty_growth: growth of the memory with a tiny network of the same ks.
    - idle: the CPU time at a camera's rate. preprocessing: the times of each size of frame.
    - seconds: duration of the whole run.
    - others_load: cores that other programs kept busy meanwhile; None where /proc does not say.
    """

    model: str
    precision: str
    executed: str
    image_size: int
    heads: tuple[int, ...]
    threads: int
    batch: int
    merges: tuple[int, ...]
    machine: Machine
    before: MachineState
    after: MachineState
    peak: Peak
    peak_after: Peak
    rows: list[BenchRow]
    switching: SwitchCost
    empty_growth: Growth
    idle: Idle
    preprocessing: list[PreprocessRow]
    seconds: float
    others_load: float | None = None


def measure(
    model: Model,
    name: str,
    plan: BenchPlan,
    stage: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> BenchReport:
    """Measure a model of the native backend.

    - name: how the report calls the model.
    - stage: called with the name of each part as it begins.
    - warn: called with a sentence for each peer that is left out.

    Raises HydrartError where a process that it starts fails.
    """
    start = time.perf_counter()
    load, children_s = linux.OthersLoad(Path("/")), _children_s()
    load()  # the next call says what came in between
    file, arch, before, target = model.file, model.architecture, state(), isa.choose()
    merges = arch.merges(plan.ks[0], plan.merge)
    part = 0.25 if plan.quick else 1.0
    stage("peak of the machine")
    best = peak.measure(model.precision, model.threads, 0.5 * part)
    tiny = replace(HYDRAVIT_B, heads=arch.heads, image_size=16, patch=16, depth=1, head_dim=16, classes=1)
    with random_weights(tiny) as empty:
        first = {}
        for k in plan.ks:
            stage(f"k={k}: first call and memory")
            first[k] = memory.first_call(file.path, model.precision, empty, k, model.threads, merges)
        stage("memory over many switches")
        grown = memory.growth(empty, 10_000 if plan.quick else 100_000, 30 * part)
    shape = (plan.batch, arch.channels, arch.image_size, arch.image_size)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    call = partial(model.logits, x, merge=plan.merge)
    model.warm_up(*plan.ks)
    rough = {k: timed(partial(call, k)) for k in plan.ks}
    stage("switches")
    switches = switch_cost.measure(call, plan.ks, 15 * part)
    kept_up = max((k for k in plan.ks if rough[k] < 0.7 / plan.rate), default=plan.ks[0])
    stage(f"idling at {plan.rate:g} fps")
    idling = idle.measure(partial(call, kept_up), kept_up, plan.rate, 4 * part)
    stage("preprocessing")
    preprocessing = _preprocessing(model, plan.repeats, part)

    rows = []
    budget_s = min(10.0, max(2.0, TIMING_S / len(plan.ks) / (1 + len(plan.peers)))) * part
    for k in plan.ks:
        times, speedup, peers = contest(model, k, plan.peers, x, budget_s, plan.repeats, stage, warn, merge=plan.merge)
        executed = peak.needed_macs(arch, k, plan.merge)
        gops = 2 * executed * plan.batch / times.p50_ms / 1e6
        rows.append(
            BenchRow(
                k=k,
                parameters=arch.parameters(k),
                gmacs=arch.macs(k, plan.merge) / 1e9,
                gmacs_executed=executed / 1e9,
                weights_mb=file.end(k) / 1e6,
                top1=model.accuracy.top1.get(k) if model.accuracy and not merges else None,
                times=times,
                pictures_per_s=1e3 * plan.batch / times.p50_ms,
                gops=gops,
                share_of_peak=None,  # it follows from both peaks
                first_call=first[k],
                switch=switches.by_k.get(k),
                speedup=speedup,
                peers=peers,
            )
        )
    stage("peak of the machine, again")
    again = peak.measure(model.precision, model.threads, 0.5 * part)
    seconds, busy = time.perf_counter() - start, load()
    if busy is not None:  # the processes that measure memory belong to the benchmark
        busy = max(0.0, busy - (_children_s() - children_s) / seconds)
    rows = [replace(row, share_of_peak=_share(row.gops, best, again)) for row in rows]
    return BenchReport(
        model=name,
        precision=model.precision,
        executed=FP32.name if target.dot(model.precision) == target.dot(FP32.name) else model.precision,
        image_size=arch.image_size,
        heads=arch.heads,
        threads=model.threads,
        batch=plan.batch,
        merges=merges,
        machine=machine(),
        before=before,
        peak=best,
        peak_after=again,
        after=state(),
        rows=rows,
        switching=switches,
        empty_growth=grown,
        idle=idling,
        preprocessing=preprocessing,
        seconds=seconds,
        others_load=busy,
    )


def _children_s() -> float:
    """CPU seconds of the processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _share(gops: float, *peaks: Peak) -> float | None:
    """The share of the larger peak; None where no peak was measured that is one."""
    share = gops / max(best.gops for best in peaks)
    return share if share <= 1 else None


def _preprocessing(model: Model, rounds: int | None, part: float) -> list[PreprocessRow]:
    rng = np.random.default_rng(0)
    frames = {name: rng.integers(0, 256, (height, width, 3), np.uint8) for name, (width, height) in FRAMES.items()}
    turns = interleave({name: partial(model.preprocess, frame) for name, frame in frames.items()}, part, rounds)
    return [PreprocessRow(name, *FRAMES[name], Times.of(turns[name])) for name in FRAMES]
