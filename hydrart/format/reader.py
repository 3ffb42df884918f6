"""Open, check, cut and read weight files (format version 1; see layout.py and metadata.py).

The container is safetensors (8 bytes of header length, a JSON header, contiguous data;
https://huggingface.co/docs/safetensors). The file is mapped, not loaded: a network of k heads touches the first
`end(k)` bytes of the data and no others.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import WeightFileError
from hydrart.format.layout import PAGE, Entry, Layout, Matrix, Vector, tensor_name
from hydrart.format.metadata import Metadata, dump, parse
from hydrart.format.precision import PRECISIONS, FloatArray

MAX_HEADER = 100_000_000  # bytes; the safetensors library has the same limit

_STORED = {precision.dtype: precision.stored for precision in PRECISIONS.values()}


class WeightFile:
    """A mapped weight file.

    - path: of the file.
    - meta, layout: its Metadata and its Layout.
    - data: the mapped bytes after the header, a read-only uint8 array.

    Raises WeightFileError where the file is not exactly what its architecture asks for.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            if os.path.exists(self.path) and not os.path.isfile(self.path):
                raise WeightFileError("it is a folder or a device")
            with open(self.path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                header, start = _read_header(file, size)
                self.meta = _metadata(header)
                self.layout = Layout(self.meta.architecture, self.meta.precision)
                _compare(header, self.layout.tensors)
                needed = start + self.layout.ends[self.heads[-1]]
                if size != needed:
                    raise WeightFileError(f"{needed:,} bytes are needed, it has {size:,}: it may be cut short")
                self.start = start
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except WeightFileError as error:
            raise WeightFileError(f"{self.path} is not a usable weight file: {error}") from None
        except FileNotFoundError:
            raise WeightFileError(f"{self.path} does not exist: check the path") from None
        except (OSError, ValueError) as error:
            raise WeightFileError(f"{self.path} cannot be read: {getattr(error, 'strerror', error)}") from None
        self.data: NDArray[np.uint8] = np.frombuffer(mapped, np.uint8, offset=start)

    @property
    def heads(self) -> tuple[int, ...]:
        """The ks that the file holds."""
        return self.meta.architecture.heads

    def end(self, k: int) -> int:
        """Number of bytes of the data that the network of k heads needs."""
        return self.layout.ends[self.meta.architecture.check_k(k)]

    def part(self, shell: int, name: str) -> NDArray[Any]:
        """The part of a tensor in one shell: a read-only view of the mapped file, with bf16 as uint16."""
        tensor = self.layout.tensors[tensor_name(shell, name)]
        values: NDArray[Any] = self.data[tensor.begin : tensor.end].view(_STORED[tensor.dtype])
        return values.reshape(tensor.shape)

    def state(self, k: int) -> "State":
        """The network of k heads as dense float32 tensors in timm's names and shapes. Each is made on access.

        Of separate classifiers it holds those of every k up to this one. Raises HeadsError.
        """
        return State(self, self.meta.architecture.check_k(k))

    def verify(self) -> None:
        """Read the whole file and compare every shell with its SHA-256. Raises WeightFileError."""
        begin = 0
        for k, end in self.layout.ends.items():
            if hashlib.sha256(self.data[begin:end].data).hexdigest() != self.meta.digests.get(k):
                raise WeightFileError(
                    f"{self.path} is damaged: the bytes of k={k} differ from its checksum; copy or convert it again"
                )
            begin = end


class State(Mapping[str, FloatArray]):
    """Dense tensors of the first k heads. Each access decodes the tensor from its tiles."""

    def __init__(self, file: WeightFile, k: int) -> None:
        self._file = file
        self._k = k

    def __iter__(self) -> Iterator[str]:
        layout = self._file.layout
        names = {m.name: m.only for m in layout.matrices.values()} | {v.name: v.only for v in layout.vectors.values()}
        return (name for name, k in names.items() if (k or 0) <= self._k)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> FloatArray:
        layout = self._file.layout
        if name in layout.matrices:
            return self._matrix(layout.matrices[name])
        vector = layout.vectors[name]
        if vector.fixed:
            return self._finite(name, self._file.part(vector.only or self._file.heads[0], name))
        return vector.dense_of(self._by_head(vector), self._k)

    def _by_head(self, vector: Vector) -> FloatArray:
        """[k, rows, head_dim]."""
        parts = [self._file.part(shell, vector.name) for shell in self._shells()]
        return self._finite(vector.name, np.concatenate(parts))

    def _shells(self) -> tuple[int, ...]:
        return tuple(k for k in self._file.heads if k <= self._k)

    def _matrix(self, matrix: Matrix) -> FloatArray:
        layout, k, d = self._file.layout, matrix.only or self._k, matrix.head_dim
        blocks = np.zeros((matrix.out_blocks(k), d, matrix.in_blocks(k), d), matrix.precision.stored)
        for shell in (matrix.only,) if matrix.only else self._shells():
            out, inner = layout.tiles(matrix, shell)
            tiles = self._file.part(shell, matrix.name)  # [n, d / per, d, per]
            blocks[out, :, inner, :] = tiles.transpose(0, 2, 1, 3).reshape(-1, d, d)
        scales = None
        if matrix.precision.scaled:
            scale = layout.scales[matrix.name]
            scales = self._by_head(scale)
            if not (scales > 0).all():
                raise WeightFileError(f"{self._file.path} is damaged: {scale.name} holds a scale that is not positive")
        rows = matrix.precision.decode(blocks.reshape(blocks.shape[0] * d, -1), scales)
        return matrix.dense_of(rows[: matrix.outputs or None, : matrix.inputs or None], k)

    def _finite(self, name: str, values: NDArray[Any]) -> FloatArray:
        if not np.isfinite(values).all():
            raise WeightFileError(f"{self._file.path} is damaged: {name} holds numbers that are not finite")
        return np.asarray(values, np.float32)


def header_bytes(meta: Metadata, tensors: Mapping[str, Entry]) -> bytes:
    """The header's length and its JSON. Spaces fill the JSON up, so that the data starts on a page."""
    header: dict[str, Any] = {"__metadata__": {"hydrart": dump(meta)}}
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": t.shape, "data_offsets": (t.begin, t.end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    length = -(-(8 + len(text)) // PAGE) * PAGE - 8
    return length.to_bytes(8, "little") + text.ljust(length)


def _read_header(file: Any, size: int) -> tuple[dict[str, Any], int]:
    if size < 8:
        raise WeightFileError(f"it has {size} bytes: download or convert it again")
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER, size - 8):
        raise WeightFileError("it is no safetensors file, or cut inside its header")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise WeightFileError("its safetensors header is not JSON") from None
    if not isinstance(header, dict):
        raise WeightFileError("its safetensors header is not an object")
    return header, 8 + length


def _metadata(header: dict[str, Any]) -> Metadata:
    match header.get("__metadata__"):
        case {"hydrart": str(text)}:
            return parse(text)
    raise WeightFileError("it has no hydrart metadata: convert checkpoints with hydrart convert")


def _compare(header: dict[str, Any], tensors: Mapping[str, Entry]) -> None:
    """Compare with what the architecture asks for: every name, type, shape and place. Raises WeightFileError."""
    for name, t in tensors.items():
        wanted = {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [t.begin, t.end]}
        if header.get(name) != wanted:
            found = str(header.get(name, "missing"))[:120]
            raise WeightFileError(f"its tensor {name} is {found}, its architecture asks for {wanted}")
    if len(header) != len(tensors) + 1:
        extra = next(name for name in header if name not in tensors and name != "__metadata__")
        raise WeightFileError(f"it holds a tensor {extra[:80]!r} that its architecture does not have")
