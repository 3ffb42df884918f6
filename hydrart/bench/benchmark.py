"""Everything that `hydrart bench` measures, in one go; the modules beside this one measure the parts."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hydrart.bench import idle, memory, peak, switching
from hydrart.bench.contest import PeerResult, contest
from hydrart.bench.idle import Idle
from hydrart.bench.machine import Machine, State, machine, state
from hydrart.bench.memory import FirstCall, Growth
from hydrart.bench.peak import Peak
from hydrart.bench.peers import Peer
from hydrart.bench.shapes import HYDRAVIT_B, random_weights
from hydrart.bench.switching import Switching
from hydrart.bench.timing import Times, interleave, timed
from hydrart.codegen import isa
from hydrart.model import Model

FRAMES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080)}  # width, height

TIMING_S = 100  # for all ks and peers, where each gets from 2 to 10 of it


@dataclass(frozen=True)
class Plan:
    """ks: to measure; peers: to compare with, which takes batch 1; rate: frames a second to idle at; repeats: rounds
    of timing, None for what fits into the time; quick: less of everything."""

    ks: tuple[int, ...]
    batch: int = 1
    rate: float = 15.0
    repeats: int | None = None
    peers: Sequence[Peer] = ()
    quick: bool = False


@dataclass(frozen=True)
class Row:
    """One k.

    gmacs: multiply-accumulates of one picture in the whole network, in billions; gmacs_executed: of those the answer
    takes (peak.needed_macs); weights_mb: bytes of the file that it reads; top1: as the file tells; times: of one call;
    gops: executed operations a second, two for each multiply-accumulate, at the median time; share_of_peak: of
    Peak.gops, though in int8 a few products, attention's, stay fp32; switch: the first call after a switch to this k,
    as a multiple of the steady state; speedup: times as long with one thread, None where that is all there is.
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
    share_of_peak: float
    first_call: FirstCall
    switch: float | None
    speedup: float | None
    peers: list[PeerResult]


@dataclass(frozen=True)
class Preprocess:
    """A frame to the network's input; frame: its name; width, height: in pixels."""

    frame: str
    width: int
    height: int
    times: Times


@dataclass(frozen=True)
class Report:
    """executed: what the linear layers compute in here; empty_growth: of a tiny network with the same ks; peak_after:
    lower than peak where the machine slowed down meanwhile, or others took the cores; seconds: of the whole."""

    model: str
    precision: str
    executed: str
    image_size: int
    heads: tuple[int, ...]
    threads: int
    batch: int
    machine: Machine
    before: State
    after: State
    peak: Peak
    peak_after: Peak
    rows: list[Row]
    switching: Switching
    empty_growth: Growth
    idle: Idle
    preprocessing: list[Preprocess]
    seconds: float


def measure(
    model: Model,
    name: str,
    plan: Plan,
    stage: Callable[[str], None] = lambda text: None,
    warn: Callable[[str], None] = lambda text: None,
) -> Report:
    """Measure a model of the native backend.

    name: of the model, for the report; stage: told what begins; warn: told what is left out. Raises HydrartError
    where a process that it starts fails.
    """
    start = time.perf_counter()
    file, arch, before, target = model.file, model.architecture, state(), isa.choose()
    part = 0.25 if plan.quick else 1.0
    stage("peak of the machine")
    best = peak.measure(model.precision, model.threads, 0.5 * part)
    tiny = replace(HYDRAVIT_B, heads=arch.heads, image_size=16, patch=16, depth=1, head_dim=16, classes=1)
    with random_weights(tiny) as empty:
        first = {}
        for k in plan.ks:
            stage(f"k={k}: first call and memory")
            first[k] = memory.first_call(file.path, model.precision, empty, k, model.threads)
        stage("memory over many switches")
        grown = memory.growth(empty, 10_000 if plan.quick else 100_000, 30 * part)
    shape = (plan.batch, arch.channels, arch.image_size, arch.image_size)
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    call = partial(model.logits, x)
    model.warm_up(*plan.ks)
    rough = {k: timed(partial(call, k)) for k in plan.ks}
    stage("switches")
    switches = switching.measure(call, plan.ks, 15 * part)
    kept_up = max((k for k in plan.ks if rough[k] < 0.7 / plan.rate), default=plan.ks[0])
    stage(f"idling at {plan.rate:g} fps")
    idling = idle.measure(partial(call, kept_up), kept_up, plan.rate, 4 * part)
    stage("preprocessing")
    preprocessing = _preprocessing(model, plan.repeats, part)

    rows = []
    budget_s = min(10.0, max(2.0, TIMING_S / len(plan.ks) / (1 + len(plan.peers)))) * part
    for k in plan.ks:
        times, speedup, peers = contest(model, k, plan.peers, x, budget_s, plan.repeats, stage, warn)
        executed = peak.needed_macs(arch, k)
        gops = 2 * executed * plan.batch / times.p50_ms / 1e6
        rows.append(
            Row(
                k=k,
                parameters=arch.parameters(k),
                gmacs=arch.macs(k) / 1e9,
                gmacs_executed=executed / 1e9,
                weights_mb=file.end(k) / 1e6,
                top1=model.accuracy.top1.get(k) if model.accuracy else None,
                times=times,
                pictures_per_s=1e3 * plan.batch / times.p50_ms,
                gops=gops,
                share_of_peak=gops / best.gops,
                first_call=first[k],
                switch=switches.by_k.get(k),
                speedup=speedup,
                peers=peers,
            )
        )
    stage("peak of the machine, again")
    return Report(
        model=name,
        precision=model.precision,
        executed="fp32" if target.dot(model.precision) == "fma" else model.precision,
        image_size=arch.image_size,
        heads=arch.heads,
        threads=model.threads,
        batch=plan.batch,
        machine=machine(),
        before=before,
        peak=best,
        peak_after=peak.measure(model.precision, model.threads, 0.5 * part),
        after=state(),
        rows=rows,
        switching=switches,
        empty_growth=grown,
        idle=idling,
        preprocessing=preprocessing,
        seconds=time.perf_counter() - start,
    )


def _preprocessing(model: Model, rounds: int | None, part: float) -> list[Preprocess]:
    rng = np.random.default_rng(0)
    frames = {name: rng.integers(0, 256, (height, width, 3), np.uint8) for name, (width, height) in FRAMES.items()}
    turns = interleave({name: partial(model.preprocess, frame) for name, frame in frames.items()}, part, rounds)
    return [Preprocess(name, *FRAMES[name], Times.of(turns[name])) for name in FRAMES]
