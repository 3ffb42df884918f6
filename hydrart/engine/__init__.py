"""Engines compute the network. Each takes a weight file and answers for any k. They know nothing of video."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from numbers import Integral
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SettingError
from hydrart.format.reader import WeightFile

MAX_BATCH = 8  # most pictures in one `looking`


class Looking(Protocol):
    """Look at the same pictures again and again, each time with more heads. Engine.looking() makes it."""

    def look(
        self, k: int, keep: Sequence[int] | None = None, deadline: float | None = None
    ) -> NDArray[np.float32] | None:
        """Logits [B, classes] of k heads, or None for a look that was abandoned.

        - keep: the pictures to look at, ascending indices into those of `looking`; None for those of the look before.
        - deadline: the time by time.perf_counter(), in seconds, at which the look is abandoned. The first look always
          runs to its end.

        A network of several looks takes them in its order. After an abandoned look there is no other.
        """


class Engine(Protocol):
    """The interface of an engine. Calls from several threads are safe.

    merges: how many tokens each block merges, from Architecture.merges; () for none.
    """

    name: str
    threads: int

    def logits(self, x: NDArray[np.float32], k: int, merges: Sequence[int] = ()) -> NDArray[np.float32]:
        """Input [B, C, H, W], normalised -> logits [B, classes], of k heads."""

    def features(self, x: NDArray[np.float32], k: int, merges: Sequence[int] = ()) -> NDArray[np.float32]:
        """Input [B, C, H, W], normalised -> the class tokens [B, k * head_dim] after the final LayerNorm."""

    def looking(self, x: NDArray[np.float32], merges: Sequence[int] = ()) -> AbstractContextManager[Looking]:
        """Begin to look at the input [B, C, H, W], normalised. Raises SettingError for B beyond MAX_BATCH.

        Inside the context the engine serves this thread alone. Its other methods must not be called there.
        """

    def stop(self) -> None:
        """Abandon what `looking` does now, except its first look. Any thread may call this."""


# backend -> module and class; a module is imported when it is needed, because each brings a library along
_ENGINES = {
    "native": ("hydrart.engine.native", "NativeEngine"),
    "reference": ("hydrart.engine.numpy_engine", "NumpyEngine"),
    "onnxruntime": ("hydrart.engine.onnx_engine", "OnnxEngine"),
}
BACKENDS = tuple(_ENGINES)


def make_engine(backend: str, file: WeightFile, threads: int | None) -> Engine:
    """Make the engine of this backend. Raises SettingError, MissingExtraError."""
    if backend not in _ENGINES:
        raise SettingError(f"backend {backend!r} is unknown: choose from {', '.join(_ENGINES)}")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 1):
        raise SettingError(f"threads={threads!r} is no number of threads: pass a whole number from 1, or None")
    if file.meta.architecture.looks and backend == "onnxruntime":
        raise SettingError(
            f"{file.path} is a network of several looks, which backend {backend!r} does not run: take 'native'"
        )
    module, name = _ENGINES[backend]
    engine: Engine = getattr(import_module(module), name)(file, threads and int(threads))
    return engine
