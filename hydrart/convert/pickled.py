"""Read PyTorch's pickled checkpoints (.pth) without running anything that they hold.

A pickle may name any function to be called. This module accepts tensors, plain values and argparse.Namespace, in which
timm stores its training options. It refuses everything else. Files are mapped, so that unused parts of a checkpoint
(the optimizer, a second set of weights) cost no memory.
"""

import argparse
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hydrart.convert import budget
from hydrart.convert.mapped import plain
from hydrart.convert.stored import CheckpointError, Stored, Unusable, integers

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class _Inert:
    """Stand in for a harmless type whose value nobody needs. No code of the real type runs."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# types of metrics and paths that training programs put beside the weights
_IGNORED = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"{core}.multiarray.{name}" for core in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
)


def read(path: Path, mapped: bool) -> dict[Any, Any]:
    """Read the file's dict. Its tensors, and those of the dicts in it, are Stored or Unusable.

    mapped: whether the file is a zip archive, whose tensors can be mapped. Raises CheckpointError.
    """
    budget.check(path, mapped)
    allowed: list[Any] = [argparse.Namespace, *((_Inert, name) for name in _IGNORED)]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # on hostile bytes, PyTorch's reader raises nearly anything
        raise CheckpointError(_why_refused(path, error)) from None
    if not isinstance(root, dict):
        raise CheckpointError(
            f"{path} holds a {type(root).__name__}, not a table of weights: save the network's state_dict()"
        )
    return {key: _viewed(value) if isinstance(value, dict) else _view(value) for key, value in root.items()}


def _viewed(table: dict[Any, Any]) -> dict[Any, Any]:
    return {key: _view(value) for key, value in table.items()}


def _view(value: Any) -> Any:
    """View a dense tensor of floats as a NumPy array. A value that is no tensor stays as it is."""
    return _stored(value.detach()) if isinstance(value, Tensor) else value


def _stored(tensor: Tensor) -> Stored | Unusable:
    if tensor.is_quantized or tensor.dtype not in _FLOATS:
        return integers(str(tensor.dtype).removeprefix("torch."))
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested:
        return Unusable("is sparse or empty: save dense tensors")
    # strides of zero can stretch a few bytes to any shape
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        return Unusable("has fewer numbers than its shape asks for: it is damaged")
    tensor = tensor.resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    array: Stored = tensor.numpy()
    return array


def _why_refused(path: Path, error: Exception) -> str:
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return (
            f"{path} is refused: reading it would run {plain(found[1])}, and nothing in a checkpoint is executed; "
            "ask its author for the state_dict() alone, or for a .safetensors file"
        )
    if "TorchScript" in text:
        return f"{path} is a TorchScript program, which is not executed: save the network's state_dict() instead"
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return f"{path} asks for more memory than there is: it is damaged, or meant to harm"
    if isinstance(error, pickle.UnpicklingError) and "reduce for unrecognized function" in text:
        return f"{path} is refused: reading it would run code, and nothing in a checkpoint is executed"
    return (
        f"{path} cannot be read as a PyTorch checkpoint: it is damaged, cut short, or holds more than tensors "
        "and plain values"
    )
