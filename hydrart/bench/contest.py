"""hydrart and other runtimes over the same weights, side by side: first whether they answer alike, then how fast."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hydrart.bench.peers import Peer
from hydrart.bench.timing import Call, Seconds, Times, interleave, ratio
from hydrart.errors import HydrartError
from hydrart.model import Model, load

FloatArray = NDArray[np.float32]

PICTURES = 2  # whose logits are compared
CLOSE = 1e-3  # largest difference of fp32 answers, relative to the largest logit
SIMILAR = 0.9  # least correlation of others
_OURS, _ALONE = "hydrart", "hydrart with one thread"


@dataclass(frozen=True)
class PeerResult:
    """A peer at one k.

    precision: asked for; plain: whether its last block computes every token (peers.py); executed: what its linear
    layers really computed in; prepare_ms: to make the network of k heads; error: largest difference of a logit from
    hydrart's, relative to the largest; correlation: of the logits, both None where it cannot be told; agrees: whether
    that is near enough to compare times. ratio: times as long as hydrart, the median over the rounds; it and the
    times are None where the answers disagree.
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
) -> tuple[Times, float | None, list[PeerResult]]:
    """hydrart's times for x, float32 [B, C, H, W], and those of all peers, in turns; peers want B = 1.

    Between them is how many times as long one thread takes, None where the model has no more. budget_s, rounds: see
    interleave. A peer that fails, or answers otherwise, is told to warn and not timed.
    """
    calls: dict[str, Call] = {_OURS: partial(model.logits, x, k)}
    if model.threads > 1:
        calls[_ALONE] = partial(load(model.file.path, precision=model.precision, threads=1).logits, x, k)
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
            warn(f"k={k}: {name} answers otherwise than hydrart ({_difference(result)}): its times are not compared")
    stage(f"k={k}: timing")
    turns = interleave(calls, budget_s, rounds)
    speedup = ratio(turns[_ALONE], turns[_OURS]) if _ALONE in turns else None
    return Times.of(turns[_OURS]), speedup, [_timed(result, turns, name) for name, result in prepared]


def label(peer: Peer) -> str:
    """As it is asked for: name, precision, and plain where it is."""
    return f"{peer.name}:{peer.precision}{':plain' * peer.plain}"


def agreement(ours: FloatArray, theirs: FloatArray, exact: bool) -> tuple[bool, float | None, float | None]:
    """Whether two arrays of logits [B, classes] are alike, their largest relative difference, their correlation.

    exact: both were computed in fp32; else rounding is forgiven, as long as the correlation is high.
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
    exact = model.precision == "fp32" and peer.executed == "fp32"
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
