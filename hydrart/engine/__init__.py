"""Engines compute the network. Each takes a weight file and answers for any k. They know nothing of video."""

from importlib import import_module
from numbers import Integral
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SettingError
from hydrart.format.reader import WeightFile


class Engine(Protocol):
    """The interface of an engine. Calls from several threads are safe."""

    name: str
    threads: int

    def logits(self, x: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        """Input [B, C, H, W], normalised -> logits [B, classes], of k heads."""

    def features(self, x: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        """Input [B, C, H, W], normalised -> the class tokens [B, k * head_dim] after the final LayerNorm."""


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
    if file.meta.architecture.looks:
        raise SettingError(
            f"{file.path} is a network of several looks, which backend {backend!r} does not run: take another network"
        )
    module, name = _ENGINES[backend]
    engine: Engine = getattr(import_module(module), name)(file, threads and int(threads))
    return engine
