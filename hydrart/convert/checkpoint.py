"""Read PyTorch checkpoints without running anything that they hold.

A pickle may name any function to be called. Here tensors, plain values and argparse.Namespace (timm stores its
training options as one) are accepted, everything else is refused. Files are mapped: what is not used of a
checkpoint (the optimizer, a second set of weights) costs no memory.
"""

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hydrart.errors import HydrartError

EMA_ENTRIES = ("state_dict_ema", "model_ema")
RAW_ENTRIES = ("state_dict", "model")  # timm's, and that of DeiT's releases
PREFIXES = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class CheckpointError(HydrartError):
    """A checkpoint is missing, damaged, unsafe, or of a network that hydrart does not run."""


class _Inert:
    """Stands in for a harmless type whose value nobody needs: nothing of the real one runs."""

    def __init__(self, *args: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# Metrics and paths that training programs put beside the weights.
_IGNORED = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"{core}.multiarray.{name}" for core in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in ("PosixPath", "WindowsPath")),
)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    weights: float tensors by timm's names, prefixes removed; entry: where in the file they were; names: what the
    network may be called, the most reliable first; settings: the options of its training; labels: one per class,
    where the file has them; recipe: whether `hydrart train` wrote it.
    """

    path: Path
    weights: dict[str, Tensor]
    entry: str
    names: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    recipe: bool = False


def read(path: Path, ema: bool = True) -> Checkpoint:
    """Read a .pth, .pth.tar or .safetensors checkpoint; with `ema`, averaged weights are preferred.

    Raises CheckpointError with one sentence for anything that is not a usable checkpoint.
    """
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is a folder or a device: give a checkpoint file")
        with open(path, "rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if not head:
        raise CheckpointError(f"{path} is empty: download or copy it again")
    if path.suffix == ".safetensors" or head[8:] == b"{":
        root = _read_safetensors(path)
    else:
        root = _read_pickle(path, mapped=head.startswith(b"PK\x03\x04"))
    entry, state = _weights(path, root, ema)
    args = root.get("args")
    options = vars(args) if isinstance(args, argparse.Namespace) else args if isinstance(args, dict) else {}
    recipe = root.get("recipe")
    names = (root.get("arch"), options.get("model"), path.name)
    return Checkpoint(
        path=path,
        weights=_clean(path, state),
        entry=entry,
        names=tuple(name for name in names if isinstance(name, str)),
        settings=options | recipe if isinstance(recipe, dict) else options,
        labels=_names(root.get("labels")),
        recipe=isinstance(recipe, dict),
    )


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path} is not a usable safetensors file: {_first_line(error)}") from None


def _read_pickle(path: Path, mapped: bool) -> dict[str, Any]:
    allowed: list[Any] = [argparse.Namespace, *((_Inert, name) for name in _IGNORED)]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            root = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch's reader raises nearly anything on hostile bytes
        raise CheckpointError(_why_refused(path, error)) from None
    if not isinstance(root, dict):
        raise CheckpointError(
            f"{path} holds a {type(root).__name__}, not a table of weights: save the network's state_dict()"
        )
    return root


def _why_refused(path: Path, error: Exception) -> str:
    text = str(error)
    if found := re.search(r"GLOBAL (\S+)", text):
        return (
            f"{path} is refused: reading it would run {_plain(found[1])}, and nothing in a checkpoint is executed; "
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


def _weights(path: Path, root: dict[str, Any], ema: bool) -> tuple[str, dict[Any, Any]]:
    """The entry that is used, and its tensors."""
    for entry in (*(EMA_ENTRIES if ema else ()), *RAW_ENTRIES):
        state = root.get(entry)
        if isinstance(state, dict):
            return entry, state
        if state is not None and not isinstance(state, str):
            raise CheckpointError(f"the entry {entry!r} of {path} is a {type(state).__name__}, not a table of weights")
    if any(isinstance(value, Tensor) for value in root.values()):
        return "the file itself", root
    if any(isinstance(root.get(entry), dict) for entry in EMA_ENTRIES):
        raise CheckpointError(f"{path} holds averaged (EMA) weights only: leave out --no-ema")
    entries = ", ".join(repr(str(name)[:40]) for name in list(root)[:5])
    raise CheckpointError(f"{path} holds no weights, only {entries or 'nothing'}: give the file of the network itself")


def _clean(path: Path, state: dict[Any, Any]) -> dict[str, Tensor]:
    """Names without the prefixes of wrappers; tensors that are ordinary dense floats."""
    weights: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds a {type(value).__name__} named {str(key)[:80]!r} among its weights: "
                "only tensors belong there"
            )
        name = key
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        if not name.isprintable() or len(name) > 100:
            raise CheckpointError(f"{path} holds a tensor with the unusable name {name[:100]!r}: it is damaged")
        if name in weights:
            raise CheckpointError(f"{path} holds the tensor {name} twice, with and without a prefix")
        weights[name] = _dense(path, name, value.detach())
    return weights


def _names(labels: Any) -> tuple[str, ...]:
    usable = isinstance(labels, list) and all(isinstance(name, str) and name.isprintable() for name in labels)
    return tuple(labels) if usable else ()


def _dense(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.is_quantized or tensor.dtype not in _FLOATS:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(f"the tensor {name} of {path} holds {kind} numbers: convert the float checkpoint instead")
    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested:
        raise CheckpointError(f"the tensor {name} of {path} is sparse or empty: save dense tensors")
    # A few bytes can be stretched to any shape by strides of zero.
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        raise CheckpointError(f"the tensor {name} of {path} has fewer numbers than its shape asks for: it is damaged")
    return tensor


def _first_line(error: Exception) -> str:
    return _plain(str(error).split("\n")[0]) or type(error).__name__


def _plain(text: str) -> str:
    """Text from a file, fit for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
