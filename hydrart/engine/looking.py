"""Looks at pictures for engines that take nothing over from one look to the next, and cannot interrupt one."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np

from hydrart.engine import MAX_BATCH, Engine
from hydrart.format.precision import FloatArray


class _Logits(Protocol):
    def logits(self, x: FloatArray, k: int, merges: Sequence[int]) -> FloatArray: ...


def logits_of(engine: Engine, x: FloatArray, ks: Sequence[int]) -> FloatArray:
    """The logits [B, classes] of the last of these looks at pictures x [B, C, H, W], however many there are.

    Where stop(), which is for other callers, abandons a look, the looks at its pictures begin again.
    """
    parts: list[FloatArray] = []
    at = 0
    while at < len(x) or not parts:
        with engine.looking(x[at : at + MAX_BATCH]) as view:
            found = [logits for k in ks if (logits := view.look(k)) is not None]
        if len(found) == len(ks):
            parts.append(found[-1])
            at += MAX_BATCH
    return np.concatenate(parts)


class SeparateLooks:
    """`looking` and `stop` of an engine that has logits(). Each look is a call of its own.

    A look that has begun runs to its end. So an answer may come late, by up to the time of one look.
    """

    _stops = 0

    def stop(self) -> None:
        """Begin no other look, in what `looking` does now."""
        self._stops += 1

    @contextmanager
    def looking(self: "_Looker", x: FloatArray, merges: Sequence[int] = ()) -> Iterator["_Looking"]:
        """Begin to look at float32 [B, C, H, W] again and again."""
        yield _Looking(self, x, merges)


class _Looker(_Logits, Protocol):
    _stops: int


class _Looking:
    """The looks at pictures x."""

    def __init__(self, engine: _Looker, x: FloatArray, merges: Sequence[int]) -> None:
        self._engine, self._x, self._kept, self._merges = engine, x, x, merges
        self._stops = engine._stops
        self._looks = 0  # number of looks so far

    def look(self, k: int, keep: Sequence[int] | None = None, deadline: float | None = None) -> FloatArray | None:
        """Logits [B, classes] of the kept pictures with k heads, or None where the deadline is past."""
        late = deadline is not None and time.perf_counter() >= deadline
        if self._looks and (late or self._engine._stops != self._stops):
            return None
        if keep is not None:
            self._kept = self._x[np.asarray(keep, np.intp)]
        self._looks += 1
        return self._engine.logits(self._kept, k, self._merges)
