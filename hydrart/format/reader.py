"""Open, check, cut and read weight files (format versions 1 and 2; see layout.py and metadata.py).

The container is safetensors (8 bytes of header length, a JSON header, contiguous data;
https://huggingface.co/docs/safetensors). The file is mapped, not loaded: a network of k heads touches the first
`end(k)` bytes of the data and no others.
"""

import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import UnfinishedWeightFileError, WeightFileError
from hydrart.format.layout import PAGE, Entry, Layout, Matrix, Vector, tensor_name
from hydrart.format.metadata import Metadata, dump, parse
from hydrart.format.precision import LARGEST, PRECISIONS, FloatArray

MAX_HEADER = 100_000_000  # bytes; the safetensors library has the same limit

_CHUNK = 1 << 18  # numbers that are checked at a time: they fit into the cache
_READ_BYTES = 1 << 24
_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")  # how zip files and pickles begin

_STORED = {precision.dtype: precision.stored for precision in PRECISIONS.values()}

_BOUNDED: dict[str, Callable[[NDArray[Any]], NDArray[np.bool_]]] = {
    precision.dtype: precision.bounded for precision in PRECISIONS.values() if precision.bounded is not None
}


class WeightFile:
    """A mapped weight file.

    - path: of the file.
    - meta, layout: its Metadata and its Layout.
    - data: the bytes after the header, a read-only uint8 array.
    - mapped: whether these bytes are those of the file, or a copy in memory.

    Raises WeightFileError where the file is not exactly what its architecture asks for. UnfinishedWeightFileError
    where it is shorter.
    """

    def __init__(self, path: str | os.PathLike[str], mapped: bool = True) -> None:
        self.path = Path(path)
        self.mapped = mapped
        self._checked: set[int] = set()  # shells
        try:
            if os.path.exists(self.path) and not os.path.isfile(self.path):
                raise WeightFileError("it is a folder or a device, give the path of a file")
            with open(self.path, "rb") as file:
                self._stamp = _Stamp.of(file.fileno())
                size = self._stamp.size
                header, start = _read_header(file, size, self.path)
                self.meta = _metadata(header)
                self.layout = Layout(self.meta.architecture, self.meta.precision)
                _compare(header, self.layout.tensors)
                needed = start + self.layout.ends[self.heads[-1]]
                if size > needed:
                    raise WeightFileError(f"{needed:,} bytes are needed, it has {size:,}: copy or convert it again")
                if size < needed:
                    raise UnfinishedWeightFileError(
                        f"{needed:,} bytes are needed, it has {size:,}: it is being written or was cut short, try again"
                    )
                self.start = start
                memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if mapped else _copied(file, size)
        except WeightFileError as error:
            raise type(error)(f"{self.path} is not a usable weight file: {error}") from None
        except FileNotFoundError:
            raise WeightFileError(f"{self.path} does not exist: check the path") from None
        except (OSError, ValueError) as error:
            raise WeightFileError(f"{self.path} cannot be read: {getattr(error, 'strerror', error)}") from None
        self.data: NDArray[np.uint8] = np.frombuffer(memory, np.uint8, offset=start)
        self.data.flags.writeable = False

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

        It holds what single ks own, such as separate classifiers, of every k up to this one. Raises HeadsError.
        """
        return State(self, self.meta.architecture.check_k(k))

    def check(self, k: int) -> None:
        """Check the numbers that the network of k heads needs, each once. Raises WeightFileError.

        All are finite and within LARGEST, and the scales are positive. Engines differ in what becomes of other numbers:
        one may give an answer that is off and looks like any other.
        """
        scales = {scale.name for scale in self.layout.scales.values()}
        for shell in self.heads:
            if shell > k or shell in self._checked:
                continue
            for name, tensor in self.layout.tensors.items():
                if tensor.shell == shell:
                    self._check_tensor(name, tensor, name.partition(".")[2] in scales)
            self._checked.add(shell)

    def _check_tensor(self, name: str, tensor: Entry, scale: bool) -> None:
        if tensor.dtype not in _BOUNDED:
            return
        values = self.data[tensor.begin : tensor.end].view(_STORED[tensor.dtype])
        for begin in range(0, values.size, _CHUNK):
            chunk = values[begin : begin + _CHUNK]
            if not _BOUNDED[tensor.dtype](chunk).all():
                what = f"numbers that are not finite, or beyond {LARGEST:g}"
            elif scale and not (chunk > 0).all():
                what = "a scale that is not positive"
            else:
                continue
            raise WeightFileError(
                f"{self.path} is damaged: {name.partition('.')[2]} holds {what}; "
                "check the file with: hydrart info --verify, and copy or convert it again"
            )

    def verify(self) -> None:
        """Read the whole file: compare every shell with its SHA-256, check every number. Raises WeightFileError."""
        begin = 0
        for k, end in self.layout.ends.items():
            if hashlib.sha256(self.data[begin:end].data).hexdigest() != self.meta.digests.get(k):
                raise WeightFileError(
                    f"{self.path} is damaged: the bytes of k={k} differ from its checksum; copy or convert it again"
                )
            begin = end
        self.check(self.heads[-1])

    def check_unchanged(self) -> None:
        """Check that nobody wrote into the mapped file since it was opened.

        A file that was replaced by renaming another keeps its bytes here. Raises UnfinishedWeightFileError.
        """
        if not self.mapped:
            return
        try:
            now = _Stamp.of(self.path)
        except OSError:
            return  # it was removed, and its bytes stay
        if now == self._stamp or now.inode != self._stamp.inode:
            return
        try:
            if now.size != self._stamp.size:
                raise WeightFileError("its size changed")
            self.verify()
        except WeightFileError:
            raise UnfinishedWeightFileError(
                f"{self.path} was written to while it is in use: replace it with mv, not with cp, or read it with "
                "--no-mmap, and try again"
            ) from None
        self._stamp = now  # it was touched, no more


class _Stamp(NamedTuple):
    """Which file it is, and whether it changed."""

    inode: tuple[int, int]
    size: int
    modified_ns: int

    @classmethod
    def of(cls, file: int | Path) -> "_Stamp":
        status = os.stat(file)
        return cls((status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns)


class State(Mapping[str, FloatArray]):
    """Dense tensors of the first k heads. Each access decodes the tensor from its tiles."""

    def __init__(self, file: WeightFile, k: int) -> None:
        self._file = file
        self._k = k
        file.check(k)

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
            flat = np.asarray(self._file.part(vector.only or self._file.heads[0], name), np.float32)
            return flat.reshape(vector.parameter.shape(self._k)) if vector.parameter else flat
        return vector.dense_of(self._by_head(vector), self._k)

    def _by_head(self, vector: Vector) -> FloatArray:
        """[k, rows, head_dim]."""
        parts = [self._file.part(shell, vector.name) for shell in self._shells()]
        return np.asarray(np.concatenate(parts), np.float32)

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
            scales = self._by_head(layout.scales[matrix.name])
        rows = matrix.precision.decode(blocks.reshape(blocks.shape[0] * d, -1), scales)
        return matrix.dense_of(rows[: matrix.outputs or None, : matrix.inputs or None], k)


def header_bytes(meta: Metadata, tensors: Mapping[str, Entry]) -> bytes:
    """The header's length and its JSON. Spaces fill the JSON up, so that the data starts on a page."""
    header: dict[str, Any] = {"__metadata__": {"hydrart": dump(meta)}}
    for name, t in tensors.items():
        header[name] = {"dtype": t.dtype, "shape": t.shape, "data_offsets": (t.begin, t.end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    length = -(-(8 + len(text)) // PAGE) * PAGE - 8
    return length.to_bytes(8, "little") + text.ljust(length)


def _read_header(file: Any, size: int, path: Path) -> tuple[dict[str, Any], int]:
    head = file.read(9)
    if head.startswith(_PICKLED):
        raise WeightFileError(f"it is a PyTorch checkpoint, convert it with: hydrart convert {path} -o OUT.safetensors")
    if len(head) < 9:
        raise UnfinishedWeightFileError(
            f"it has {size} bytes and no safetensors header: it is being written or was cut short, try again"
        )
    length = int.from_bytes(head[:8], "little")
    if not length:
        raise UnfinishedWeightFileError("its safetensors header is empty, not JSON: it is being written, try again")
    if length > MAX_HEADER or (length > size - 8 and head[8:] != b"{"):
        raise WeightFileError("it is no safetensors file: convert checkpoints with hydrart convert")
    text = head[8:] + file.read(length - 1)
    if len(text) < length:
        raise UnfinishedWeightFileError(
            "its safetensors header is cut: it is being written or was cut short, try again"
        )
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise WeightFileError("its safetensors header is not JSON") from None
    if not isinstance(header, dict):
        raise WeightFileError("its safetensors header is not an object")
    return header, 8 + length


def _copied(file: Any, size: int) -> mmap.mmap:
    """The whole file in memory, at the start of a page as a mapped one is."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    file.seek(0)
    view, at = memoryview(memory), 0
    while at < size:
        count = file.readinto(view[at : at + _READ_BYTES])
        if not count:
            raise UnfinishedWeightFileError("it shrank while it was read: it is being written, try again")
        at += count
    return memory


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
