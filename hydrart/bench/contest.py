"""Compare hydrart with other runtimes over the same weights: first the answers, then the times."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hydrart.bench.peers import Peer
from hydrart.bench.timing import Call, Seconds, Times, interleave, ratio
from hydrart.errors import HydrartError
from hydrart.format.merging import Merge
from hydrart.format.precision import FP32, FloatArray
from hydrart.model import Model, load

PICTURES = 2  # number of pictures whose logits are compared
CLOSE = 1e-3  # largest difference of fp32 answers that agree, relative to the largest logit
SIMILAR = 0.9  # smallest correlation of answers that agree in other precisions
_OURS, _ALONE = "hydrart", "hydrart with one thread"


@dataclass(frozen=True)
class PeerResult:
    """The measurements of a peer with one k.

    - name, version, threads: of the runtime.
    - precision: the one that was asked for. executed: the one in which its linear layers computed.
    - plain: whether its last block computes every token (peers.py).
    - prepare_ms: time to build the network of k heads.
    - agrees: whether the answers agree well enough to compare times.
    - error: largest difference between its logits and hydrart's, over hydrart's largest logit; None where undefined.
    - correlation: of its logits and hydrart's; None where undefined.
    - ratio: its time over hydrart's, the median over the rounds; None where the answers disagree.
    - times: of one call; None where the answers disagree.
    """

    name: str
    version: str
    precision: str
    plain: bool
    executed: str
    threads: int
    prepare_ms: float
    agrees: bool
    error: float | None
    correlation: float | None
    ratio: float | None = None
    times: Times | None = None


def contest(
    model: Model,
    k: int,
    peers: Sequence[Peer],
    x: FloatArray,
    budget_s: float,
    rounds: int | None,
    stage: Callable[[str], None],
    warn: Callable[[str], None],
    *,
    merge: Merge = 0,
) -> tuple[Times, float | None, list[PeerResult]]:
    """Time hydrart and all peers in turns.

    - x: float32 [B, C, H, W]; B = 1 where there are peers.
    - budget_s, rounds: as for timing.interleave.
    - stage: called with the name of each step.
    - warn: called with a sentence for each peer that fails (it has no result) or that disagrees (it is not timed).
    - merge: how many tokens each block merges, as Model.logits takes it; 0 where there are peers.

    Returns hydrart's times, its time with one thread over its time with all (None where the model has one thread), and
    a result for each peer.
    """
    calls: dict[str, Call] = {_OURS: partial(model.logits, x, k, merge=merge)}
    if model.threads > 1:
        calls[_ALONE] = partial(load(model.file.path, precision=model.precision, threads=1).logits, x, k, merge=merge)
    prepared: list[tuple[str, PeerResult]] = []
    for peer in peers:
        name = label(peer)
        stage(f"k={k}: preparing {name}")
        try:
            call, result = _prepared(model, k, peer, x)
        except HydrartError as error:
            warn(f"k={k}: {name} is left out: {error}")
            continue
        prepared.append((name, result))
        if result.agrees:
            calls[name] = call
        else:
            warn(f"k={k}: {name} and hydrart give different answers ({_difference(result)}): its time is not measured")
    stage(f"k={k}: timing")
    turns = interleave(calls, budget_s, rounds)
    speedup = ratio(turns[_ALONE], turns[_OURS]) if _ALONE in turns else None
    return Times.of(turns[_OURS]), speedup, [_timed(result, turns, name) for name, result in prepared]


def label(peer: Peer) -> str:
    """The peer as --against takes it: name:precision, with :plain where its last block computes every token."""
    return f"{peer.name}:{peer.precision}{':plain' * peer.plain}"


def agreement(ours: FloatArray, theirs: FloatArray, exact: bool) -> tuple[bool, float | None, float | None]:
    """Compare logits, both float32 [B, classes]. Returns whether they agree, the relative error, and the correlation.

    exact: whether both runtimes computed in fp32. Then the error decides, otherwise the correlation.
    """
    if ours.shape != theirs.shape or not np.isfinite(theirs).all():
        return False, None, None
    error = float(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), 1e-30))
    varied = ours.std() > 0 and theirs.std() > 0
    correlation = float(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) if varied else None
    if exact or correlation is None:
        return error <= CLOSE, error, correlation
    return correlation >= SIMILAR, error, correlation


def _prepared(model: Model, k: int, peer: Peer, x: FloatArray) -> tuple[Call, PeerResult]:
    start = time.perf_counter()
    run = peer.prepare(k)
    prepare_ms = (time.perf_counter() - start) * 1e3
    pictures = np.random.default_rng(1).standard_normal((PICTURES, *x.shape[1:]), np.float32)
    theirs = np.concatenate([np.array(run(pictures[i : i + 1])) for i in range(PICTURES)])
    exact = model.precision == peer.executed == FP32.name
    agrees, error, correlation = agreement(model.logits(pictures, k), theirs, exact)
    result = PeerResult(
        name=peer.name,
        version=peer.version,
        precision=peer.precision,
        plain=peer.plain,
        executed=peer.executed,
        threads=peer.threads,
        prepare_ms=prepare_ms,
        agrees=agrees,
        error=error,
        correlation=correlation,
    )
    return partial(run, x), result


def _timed(result: PeerResult, turns: dict[str, Seconds], name: str) -> PeerResult:
    if name not in turns:
        return result
    return replace(result, ratio=ratio(turns[name], turns[_OURS]), times=Times.of(turns[name]))


def _difference(result: PeerResult) -> str:
    if result.error is None:
        return "other shapes, or numbers that are not finite"
    correlation = "" if result.correlation is None else f", correlation {result.correlation:.3f}"
    return f"relative error {result.error:.1e}{correlation}"
