"""backend="reference": run the reference network on a weight file, in float32."""

import threading
from collections.abc import Mapping, Sequence

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from hydrart.engine import reference
from hydrart.engine.looking import SeparateLooks
from hydrart.fork import free_in_children
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile


class NumpyEngine(SeparateLooks):
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

    def _decoded(self, k: int) -> Mapping[str, FloatArray]:
        """The lock is held."""
        if k > self._k:
            self._state, self._k = dict(self._file.state(k)), k
        return self._state
