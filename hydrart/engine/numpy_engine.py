"""backend="reference": the reference network over a weight file, in float32."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from hydrart.engine import reference
from hydrart.weightfile import WeightFile

FloatArray = NDArray[np.float32]


class NumpyEngine:
    """Decodes the weights once, up to the largest k that was asked for, and runs reference.py on prefixes.

    threads: what NumPy's BLAS may use during a call. One by default: at these sizes a second thread gains little
    on an idle machine and loses much to waiting on a busy one.
    """

    name = "reference"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self._file = file
        self._arch = file.meta.architecture
        self._lock = threading.Lock()
        self._k = 0  # what self._state holds
        self._state: Mapping[str, FloatArray] = {}
        self.threads = threads or 1

    def logits(self, x: FloatArray, k: int) -> FloatArray:
        state = self._decoded(k)
        with _BlasThreads(self.threads):
            features = reference.features(state, self._arch, x, k)
            logits: FloatArray = reference.classify(state, self._arch, features, k)
        return logits

    def features(self, x: FloatArray, k: int) -> FloatArray:
        state = self._decoded(k)
        with _BlasThreads(self.threads):
            features: FloatArray = reference.features(state, self._arch, x, k)
        return features

    def _decoded(self, k: int) -> Mapping[str, FloatArray]:
        with self._lock:
            if k > self._k:
                self._state, self._k = dict(self._file.state(k)), k
            return self._state


class _BlasThreads:
    """Caps the BLAS pool, which the whole process shares, while any call runs; the last one out restores it."""

    _lock = threading.Lock()
    _running = 0
    _limit: Any = None
    _pools = ThreadpoolController()

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __enter__(self) -> None:
        with self._lock:
            if _BlasThreads._running == 0:
                _BlasThreads._limit = self._pools.limit(limits=self._threads, user_api="blas")
            _BlasThreads._running += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            _BlasThreads._running -= 1
            if _BlasThreads._running == 0:
                _BlasThreads._limit.restore_original_limits()
