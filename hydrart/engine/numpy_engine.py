"""backend="reference": run the reference network on a weight file, in float32."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from hydrart.engine import reference
from hydrart.fork import free_in_children
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile


class NumpyEngine:
    """Decode the weights once, up to the largest k so far, and run reference.py on prefixes of them.

    Calls from several threads take turns.

    threads: cap of NumPy's BLAS pool from now on. It holds for the whole process, because the pool cannot be capped for
    one caller. None leaves the pool as it is.
    """

    name = "reference"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self._file = file
        self._arch = file.meta.architecture
        # BLAS, too, has locks, which a child would find held
        self._lock = free_in_children(threading.Lock(), awaited=True)
        self._stops = 0  # number of calls of stop()
        self._k = 0  # the number of heads in self._state
        self._state: Mapping[str, FloatArray] = {}
        if threads is not None:
            threadpool_limits(threads, user_api="blas")
        self.threads: int = max((p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"), default=1)

    def logits(self, x: FloatArray, k: int, merges: Sequence[int] = ()) -> FloatArray:
        with self._lock, np.errstate(all="ignore"):  # the model reports what is not finite
            state = self._decoded(k)
            features = reference.features(state, self._arch, x, k, merges)
            logits: FloatArray = reference.classify(state, self._arch, features, k)
        return logits

    def features(self, x: FloatArray, k: int, merges: Sequence[int] = ()) -> FloatArray:
        with self._lock, np.errstate(all="ignore"):
            features: FloatArray = reference.features(self._decoded(k), self._arch, x, k, merges)
        return features

    def stop(self) -> None:
        """Begin no other look, in what `looking` does now. A look that has begun runs to its end."""
        self._stops += 1

    @contextmanager
    def looking(self, x: FloatArray, merges: Sequence[int] = ()) -> Iterator["_Looking"]:
        """Begin to look at float32 [B, C, H, W], with B up to MAX_BATCH, again and again."""
        with self._lock, np.errstate(all="ignore"):  # the model reports what is not finite
            yield _Looking(self, x, merges)

    def _decoded(self, k: int) -> Mapping[str, FloatArray]:
        """The lock is held."""
        if k > self._k:
            self._state, self._k = dict(self._file.state(k)), k
        return self._state


class _Looking:
    """The looks at pictures x. The engine's lock is held."""

    def __init__(self, engine: NumpyEngine, x: FloatArray, merges: Sequence[int]) -> None:
        self._engine, self._x, self._merges = engine, x, merges
        self._stops, self._looks = engine._stops, 0
        self._kept = np.arange(len(x))  # the pictures of the last look
        self._tokens: FloatArray | None = None  # that a later look takes up

    def look(self, k: int, keep: Sequence[int] | None = None, deadline: float | None = None) -> FloatArray | None:
        """Logits [B, classes] of the kept pictures with k heads, or None where the deadline is past."""
        engine, arch = self._engine, self._engine._arch
        late = deadline is not None and time.perf_counter() >= deadline
        if self._looks and (late or engine._stops != self._stops):
            return None
        self._looks += 1
        if keep is not None:
            kept = np.asarray(keep, np.intp)
            if self._tokens is not None:
                self._tokens = self._tokens[np.searchsorted(self._kept, kept)]
            self._kept = kept
        state = engine._decoded(k)
        tokens = reference.tokens(state, arch, self._x[self._kept], k, self._tokens, self._merges)
        if arch.looks:
            self._tokens = tokens
        logits: FloatArray = reference.classify(state, arch, tokens[:, 0], k)
        return logits
