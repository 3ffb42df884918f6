"""Read a checkpoint: its weights in timm's names, and everything else that it says of the network."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hydrart.convert import mapped
from hydrart.convert.stored import CheckpointError, Stored, Unusable
from hydrart.errors import import_extra
from hydrart.format.roles import CLASS_TOKEN

EMA_ENTRIES = ("state_dict_ema", "model_ema")
RAW_ENTRIES = ("state_dict", "model")  # the weights' entry in timm's files, and in DeiT's releases
# what DistributedDataParallel, torch.compile, FSDP and checkpointed activations put into names, also within them
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
COUNTERS = ("n_averaged", "num_batches_tracked")  # of PyTorch's SWA and BatchNorm: integers that are no weights
HUB_WEIGHTS, HUB_CONFIG = "model.safetensors", "config.json"  # the files of a folder from timm or the Hugging Face Hub


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    - path: of the file with the weights.
    - title: how the weight file names its source.
    - weights: the stored tensors by timm's names, without prefixes.
    - entry: the entry of the file that held them.
    - names: possible names of the network, the most reliable first.
    - settings: the options of its training.
    - labels: one per class; empty where the file has none.
    - licence: None where the file names none.
    - recipe: whether `hydrart train` wrote it.
    """

    path: Path
    title: str
    weights: dict[str, Stored]
    entry: str
    names: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    licence: str | None = None
    recipe: bool = False


def read(path: Path, ema: bool = True) -> Checkpoint:
    """Read a .pth, .pth.tar or .safetensors file, or a folder with model.safetensors and config.json.

    ema: whether averaged weights are preferred. Only .pth files need PyTorch. Raises CheckpointError for anything that
    is no usable checkpoint, and MissingExtraError (extra: train).
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is a device: give a checkpoint file")
        with open(path, "rb") as file:
            head = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if not head:
        raise CheckpointError(f"{path} is empty: download or copy it again")
    if path.suffix == ".safetensors" or head[8:] == b"{":
        root: dict[Any, Any] = dict(mapped.read(path))
    else:
        root = _pickled(path, head.startswith(b"PK\x03\x04"))
    entry, state = _weights(path, root, ema)
    args = root.get("args")
    options = vars(args) if isinstance(args, argparse.Namespace) else args if isinstance(args, dict) else {}
    recipe = root.get("recipe")
    return Checkpoint(
        path=path,
        title=path.name,
        weights=_clean(path, state),
        entry=entry,
        names=_strings(root.get("arch"), options.get("model"), path.name),
        settings=options | recipe if isinstance(recipe, dict) else options,
        labels=_labels(root.get("labels")),
        recipe=isinstance(recipe, dict),
    )


def _pickled(path: Path, zipped: bool) -> dict[Any, Any]:
    import_extra("torch", f"{path} is no safetensors file, and reading it", "PyTorch", "train")
    from hydrart.convert import pickled

    return pickled.read(path, zipped)


def _read_folder(folder: Path) -> Checkpoint:
    """Read timm's layout on the Hugging Face Hub. config.json names architecture, preprocessing and labels."""
    path, config_path = folder / HUB_WEIGHTS, folder / HUB_CONFIG
    if not path.is_file() or not config_path.is_file():
        raise CheckpointError(f"{folder} is a folder without {HUB_WEIGHTS} and {HUB_CONFIG}: give a checkpoint file")
    try:
        config = json.loads(config_path.read_text("utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"{config_path} is no JSON object: download it again")
    own, arguments = _table(config.get("pretrained_cfg", config)), _table(config.get("model_args"))
    licence = own.get("license")
    return Checkpoint(
        path=path,
        title=f"{folder.resolve().name}/{HUB_WEIGHTS}",
        weights=_clean(path, mapped.read(path)),
        entry="the file itself",
        names=_strings(config.get("architecture"), own.get("architecture"), folder.resolve().name),
        settings=own | arguments,
        labels=_labels(config.get("label_names", own.get("label_names"))),
        licence=licence if isinstance(licence, str) and licence.isprintable() and licence else None,
    )


def _weights(path: Path, root: dict[Any, Any], ema: bool) -> tuple[str, dict[Any, Any]]:
    """Choose the entry with the weights. Returns its name and its tensors."""
    for entry in (*(EMA_ENTRIES if ema else ()), *RAW_ENTRIES):
        state = root.get(entry)
        if isinstance(state, dict):
            return entry, state
        if state is not None and not isinstance(state, str):
            raise CheckpointError(f"the entry {entry!r} of {path} is a {type(state).__name__}, not a table of weights")
    if any(isinstance(value, np.ndarray | Unusable) for value in root.values()):
        return "the file itself", root
    if any(isinstance(root.get(entry), dict) for entry in EMA_ENTRIES):
        raise CheckpointError(f"{path} holds averaged (EMA) weights only: leave out --no-ema")
    entries = ", ".join(repr(str(name)[:40]) for name in list(root)[:5])
    raise CheckpointError(f"{path} holds no weights, only {entries or 'nothing'}: give the file of the network itself")


def _clean(path: Path, state: Mapping[Any, Any]) -> dict[str, Stored]:
    """Remove the prefixes of wrappers from the names, and check that every tensor is a dense one of floats."""
    weights: dict[str, Stored] = {}
    prefix = _module(state)
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, np.ndarray | Unusable):
            raise CheckpointError(
                f"{path} holds a {type(value).__name__} named {str(key)[:80]!r} among its weights: "
                "only tensors belong there"
            )
        name = _unwrapped(key).removeprefix(prefix)
        if name.rpartition(".")[2] in COUNTERS:
            continue
        if not name.isprintable() or len(name) > 100:
            raise CheckpointError(f"{path} holds a tensor with the unusable name {name[:100]!r}: it is damaged")
        if name in weights:
            raise CheckpointError(f"{path} holds the tensor {name} twice, with and without a prefix")
        if isinstance(value, Unusable):
            raise CheckpointError(f"the tensor {name} of {path} {value.why}")
        weights[name] = value
    return weights


def _unwrapped(name: str) -> str:
    """The name without the parts that wrappers add."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _module(state: Mapping[Any, Any]) -> str:
    """The prefix of a network within a larger module, as in Lightning's checkpoints: that of its class token."""
    names = [_unwrapped(key) for key in state if isinstance(key, str) and key.endswith(f".{CLASS_TOKEN.at()}")]
    return names[0].removesuffix(CLASS_TOKEN.at()) if len(names) == 1 else ""


def _strings(*values: Any) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


def _labels(labels: Any) -> tuple[str, ...]:
    usable = isinstance(labels, list) and all(isinstance(name, str) and name.isprintable() for name in labels)
    return tuple(labels) if usable else ()


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
