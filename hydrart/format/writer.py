"""Write weight files: encode dense tensors into tiles, or copy a prefix of an existing file.

A file appears under its name only when it is whole: it is written beside it and renamed.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import WeightFileError
from hydrart.format.architecture import Architecture
from hydrart.format.layout import DTYPE_BYTES, Layout, Matrix, Vector, scale_name, tensor_name
from hydrart.format.metadata import Metadata
from hydrart.format.reader import WeightFile, header_bytes

_CHUNK = 1 << 22


def write(path: str | os.PathLike[str], meta: Metadata, state: Mapping[str, Any]) -> None:
    """Write a weight file.

    state: dense tensors of the largest k, in timm's names and shapes (float32 [outputs, inputs]; separate
    classifiers as heads.K.weight [classes, p] and heads.K.bias). Each is read once, so `state` may make them on
    access. meta.digests is replaced. Raises WeightFileError on a wrong shape or a number that is not finite.
    """
    layout = Layout(meta.architecture, meta.precision)
    blank = replace(meta, digests=dict.fromkeys(meta.architecture.heads, "0" * 64))
    header = header_bytes(blank, layout.tensors)
    with _appearing(Path(path)) as file:
        file.write(header)
        file.truncate(len(header) + max(layout.ends.values()))

        def put(shell: int, name: str, values: NDArray[Any]) -> None:
            tensor = layout.tensors[tensor_name(shell, name)]
            file.seek(len(header) + tensor.begin)
            file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)

        for matrix in layout.matrices.values():
            _put_matrix(layout, matrix, _fetch(state, matrix.name), put)
        for vector in layout.vectors.values():
            if not vector.name.endswith(".scale"):
                _put_vector(layout, vector, _fetch(state, vector.name), put)
        digests = _digests(file, len(header), layout)
        file.seek(0)
        file.write(header_bytes(replace(meta, digests=digests), layout.tensors))


def copy_prefix(source: WeightFile, path: str | os.PathLike[str], meta: Metadata) -> None:
    """Write the file of `meta`, whose data are the first bytes of `source`'s.

    With `source.meta.cut(k)` this cuts the file after k; with other labels or accuracies it replaces those.
    """
    layout = Layout(meta.architecture, meta.precision)
    end = max(layout.ends.values())
    with _appearing(Path(path)) as file:
        file.write(header_bytes(meta, layout.tensors))
        for begin in range(0, end, _CHUNK):
            file.write(source.data[begin : min(end, begin + _CHUNK)].data)


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hex, as Metadata.source_sha256 holds it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_matrix(layout: Layout, matrix: Matrix, dense: NDArray[np.float32], put: Any) -> None:
    arch = layout.arch
    d, k = arch.head_dim, matrix.only or arch.heads[-1]
    out_blocks, in_blocks = matrix.out_blocks(k, d), matrix.in_blocks(k, d)
    shape = (matrix.outputs or out_blocks * d, matrix.inputs or in_blocks * d)
    if matrix.name == "patch_embed.proj.weight":
        dense = _shaped(matrix.name, dense, (k * d, arch.channels, arch.patch, arch.patch)).reshape(k * d, -1)
    flat = _shaped(matrix.name, dense, shape)
    if matrix.name.endswith("qkv.weight"):
        flat = _by_head(flat, arch)
    per = 4 // DTYPE_BYTES[matrix.dtype]
    if matrix.dtype == "I8":
        scale = np.abs(flat).max(axis=1) / np.float32(127)
        scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
        flat = np.rint(flat / scale[:, None])
        rows = scale.reshape(k, matrix.out_per_head, d)
        for shell in arch.heads:
            put(shell, scale_name(matrix.name), rows[_slice(layout, shell)])
    padded = np.zeros((out_blocks * d, in_blocks * d), np.float32)
    padded[: flat.shape[0], : flat.shape[1]] = flat
    blocks = padded.reshape(out_blocks, d, in_blocks, d)
    for shell in (matrix.only,) if matrix.only else arch.heads:
        out, inner = layout.tiles(matrix, shell)
        tiles = blocks[out, :, inner, :].reshape(-1, d, d // per, per).transpose(0, 2, 1, 3)
        put(shell, matrix.name, _encode(tiles, matrix.dtype))


def _put_vector(layout: Layout, vector: Vector, values: NDArray[np.float32], put: Any) -> None:
    arch = layout.arch
    if vector.fixed:
        shell = vector.only or arch.heads[0]
        put(shell, vector.name, _shaped(vector.name, values, (vector.fixed,)))
        return
    k, d = arch.heads[-1], arch.head_dim
    if vector.name == "pos_embed":
        rows = _shaped(vector.name, values, (1, vector.rows, k * d)).reshape(vector.rows, k, d).transpose(1, 0, 2)
    elif vector.name == "cls_token":
        rows = _shaped(vector.name, values, (1, 1, k * d)).reshape(k, 1, d)
    else:
        flat = _shaped(vector.name, values, (vector.rows * k * d,))
        rows = (_by_head(flat, arch) if vector.name.endswith("qkv.bias") else flat).reshape(k, vector.rows, d)
    for shell in arch.heads:
        put(shell, vector.name, rows[_slice(layout, shell)])


def _slice(layout: Layout, shell: int) -> slice:
    heads = layout.heads_in(shell)
    return slice(heads.start, heads.stop)


def _by_head(values: NDArray[np.float32], arch: Architecture) -> NDArray[np.float32]:
    """Rows of q, k, v, each by head -> rows by head, each q, k, v."""
    k, d = arch.heads[-1], arch.head_dim
    return values.reshape(3, k, d, -1).swapaxes(0, 1).reshape(values.shape)


def _encode(values: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    if dtype == "I8":
        return values.astype(np.int8)
    if dtype == "F32":
        return values.astype("<f4")
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")  # to nearest, ties to even


def _fetch(state: Mapping[str, Any], name: str) -> NDArray[np.float32]:
    if name not in state:
        raise WeightFileError(f"the checkpoint has no tensor {name}: it is not such a network")
    return np.asarray(state[name], np.float32)


def _shaped(name: str, values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if values.shape != shape:
        raise WeightFileError(f"the tensor {name} has shape {list(values.shape)}, {list(shape)} is needed")
    if not np.isfinite(values).all():
        raise WeightFileError(f"the tensor {name} holds numbers that are not finite: the training went wrong")
    return values


def _digests(file: IO[bytes], start: int, layout: Layout) -> dict[int, str]:
    file.seek(start)
    digests, at = {}, 0
    for k, end in layout.ends.items():
        digest = hashlib.sha256()
        while at < end:
            chunk = file.read(min(_CHUNK, end - at))
            digest.update(chunk)
            at += len(chunk)
        digests[k] = digest.hexdigest()
    return digests


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes its name at the end, and leaves nothing behind if anything fails before."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise WeightFileError(f"{path} is a folder or a device: give the name of a file to write")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise WeightFileError(f"{path} cannot be written: {error.strerror}") from None
        raise
