"""Engines compute; each takes a weight file and answers for any k. They know nothing of pictures or video."""

from importlib import import_module
from numbers import Integral
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SettingError
from hydrart.format.reader import WeightFile


class Engine(Protocol):
    """What a model needs of an engine; calls from several threads are safe."""

    name: str
    threads: int

    def logits(self, x: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        """[B, C, H, W] -> [B, classes]."""

    def features(self, x: NDArray[np.float32], k: int) -> NDArray[np.float32]:
        """[B, C, H, W] -> [B, k * head_dim]."""


# module and class; imported when asked for, since each brings a library along
_ENGINES = {
    "native": ("hydrart.engine.native", "NativeEngine"),
    "reference": ("hydrart.engine.numpy_engine", "NumpyEngine"),
    "onnxruntime": ("hydrart.engine.onnx_engine", "OnnxEngine"),
}
BACKENDS = tuple(_ENGINES)


def make_engine(backend: str, file: WeightFile, threads: int | None) -> Engine:
    """The engine of that name. Raises SettingError, MissingExtraError."""
    if backend not in _ENGINES:
        raise SettingError(f"backend {backend!r} is unknown: choose from {', '.join(_ENGINES)}")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 1):
        raise SettingError(f"threads={threads!r} is no number of threads: pass a whole number from 1, or None")
    module, name = _ENGINES[backend]
    engine: Engine = getattr(import_module(module), name)(file, threads and int(threads))
    return engine
