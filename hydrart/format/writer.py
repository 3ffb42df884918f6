"""Write weight files: encode dense tensors into tiles, or copy a prefix of an existing file.

A file is whole as soon as it appears (hydrart.targets.replacing).
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import WeightFileError
from hydrart.format.layout import Layout, Matrix, Vector, tensor_name
from hydrart.format.metadata import Metadata
from hydrart.format.precision import LARGEST, FloatArray, bounded
from hydrart.format.reader import WeightFile, header_bytes
from hydrart.format.roles import Parameter
from hydrart.targets import replacing

_CHUNK = 1 << 22


def write(path: str | os.PathLike[str], meta: Metadata, state: Mapping[str, Any]) -> None:
    """Write a weight file.

    - path: of the new file.
    - meta: what the file says of itself. The written file has new digests.
    - state: dense float32 tensors of the largest k, in timm's names and shapes. Separate classifiers are
      heads.K.weight [classes, p] and heads.K.bias [classes]. Each tensor is read once: `state` may make it on access.

    Raises WeightFileError for a wrong shape and for a number that is not finite.
    """
    layout = Layout(meta.architecture, meta.precision)
    blank = replace(meta, digests=dict.fromkeys(meta.architecture.heads, "0" * 64))
    header = header_bytes(blank, layout.tensors)
    with replacing(Path(path), WeightFileError) as file:
        file.write(header)
        file.truncate(len(header) + max(layout.ends.values()))

        def put(shell: int, name: str, values: NDArray[Any]) -> None:
            tensor = layout.tensors[tensor_name(shell, name)]
            file.seek(len(header) + tensor.begin)
            file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)

        for matrix in layout.matrices.values():
            _put_matrix(layout, matrix, _fetch(state, matrix.parameter, layout), put)
        for vector in layout.vectors.values():
            assert vector.parameter is not None
            _put_vector(layout, vector, _fetch(state, vector.parameter, layout), put)
        digests = _digests(file, len(header), layout)
        file.seek(0)
        file.write(header_bytes(replace(meta, digests=digests), layout.tensors))


def copy_prefix(source: WeightFile, path: str | os.PathLike[str], meta: Metadata) -> None:
    """Write a file with this metadata, and with the first bytes of `source`'s data.

    `source.meta.cut(k)` as meta cuts the file after k. Other labels or accuracies in meta replace those of `source`.
    """
    layout = Layout(meta.architecture, meta.precision)
    end = max(layout.ends.values())
    with replacing(Path(path), WeightFileError) as file:
        file.write(header_bytes(meta, layout.tensors))
        for begin in range(0, end, _CHUNK):
            file.write(source.data[begin : min(end, begin + _CHUNK)].data)


def sha256(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits, as Metadata.source_sha256 holds it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _put_matrix(layout: Layout, matrix: Matrix, dense: FloatArray, put: Any) -> None:
    k, d, per = matrix.only or layout.arch.heads[-1], matrix.head_dim, matrix.precision.per
    stored, scales = matrix.precision.encode(matrix.rows_of(dense, k))
    if scales is not None:
        _put_by_head(layout, layout.scales[matrix.name], scales, put)
    blocks = matrix.tiles_of(stored, k)
    for shell in (matrix.only,) if matrix.only else layout.arch.heads:
        out, inner = layout.tiles(matrix, shell)
        put(shell, matrix.name, blocks[out, :, inner, :].reshape(-1, d, d // per, per).transpose(0, 2, 1, 3))


def _put_vector(layout: Layout, vector: Vector, dense: FloatArray, put: Any) -> None:
    if vector.fixed:
        put(vector.only or layout.arch.heads[0], vector.name, dense)
    else:
        _put_by_head(layout, vector, dense, put)


def _put_by_head(layout: Layout, vector: Vector, dense: FloatArray, put: Any) -> None:
    rows = vector.by_head(dense, layout.arch.heads[-1])
    for shell in layout.arch.heads:
        heads = layout.heads_in(shell)
        put(shell, vector.name, rows[heads.start : heads.stop])


def _fetch(state: Mapping[str, Any], parameter: Parameter, layout: Layout) -> FloatArray:
    """Take the tensor from the state as float32. Raises WeightFileError for a wrong shape or a number not finite."""
    name, shape = parameter.name, parameter.shape(layout.arch.heads[-1])
    try:
        values: FloatArray = np.asarray(state[name], np.float32)  # `name in state` would make it once more
    except KeyError:
        raise WeightFileError(f"the checkpoint has no tensor {name}: it is not such a network") from None
    if values.shape != shape:
        raise WeightFileError(f"the tensor {name} has shape {list(values.shape)}, {list(shape)} is needed")
    if not bounded(values).all():
        raise WeightFileError(
            f"the tensor {name} holds numbers that are not finite, or beyond {LARGEST:g}: the training went wrong"
        )
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
