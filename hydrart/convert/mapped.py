"""Read safetensors checkpoints without PyTorch. The file is mapped.

The safetensors library checks the file. It copies what it reads and has no NumPy type for bf16. So this module makes
views of the mapped file, by the offsets of the header (https://huggingface.co/docs/safetensors#format).
"""

import json
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from hydrart.convert.stored import CheckpointError, Stored, Unusable, integers

_DTYPES = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}


def read(path: Path) -> dict[str, Stored | Unusable]:
    """The tensors by name. Raises CheckpointError."""
    try:
        with safe_open(path, framework="np"):
            pass  # it raises unless the header, the offsets and the size of the file fit together
        with open(path, "rb") as file:
            start = 8 + int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(start - 8))
            # a private mapping, because PyTorch shares memory only with writable arrays
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return {name: _tensor(data, start, entry) for name, entry in header.items() if name != "__metadata__"}
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        why = plain(str(error).split("\n")[0]) or type(error).__name__
        raise CheckpointError(f"{path} is not a usable safetensors file: {why}") from None


def _tensor(data: mmap.mmap, start: int, entry: dict[str, Any]) -> Stored | Unusable:
    if entry["dtype"] not in _DTYPES:
        return integers(plain(entry["dtype"]))
    shape = tuple(entry["shape"])
    values = np.frombuffer(data, _DTYPES[entry["dtype"]], math.prod(shape), start + entry["data_offsets"][0])
    return values.reshape(shape)


def plain(text: str) -> str:
    """Make text from a file safe for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:200])
