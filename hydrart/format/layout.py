"""Where every weight lies in a version 1 weight file.

A matrix is cut into head_dim x head_dim tiles. Tile (i, j), output block i and input block j, belongs to the head
that first needs it: the larger of the two blocks' heads. The file is a sequence of shells, one per trained k, each
with what k needs beyond the k before it, so that the bytes of any k are a prefix of the data:

    shell = tiles of patch_embed, blocks.0.attn.qkv, .attn.proj, .mlp.fc1, .mlp.fc2, ..., head
            (a matrix's tiles by output block, then input block), then vectors, then zeros up to a page

A tile is stored [head_dim / per][head_dim][per]: each 32-bit lane holds `per` consecutive inputs of one output
(1 for fp32, 2 for bf16, 4 for int8). Rows of qkv are ordered by head, q then k then v, so that a prefix of heads is
a prefix of rows. Edges that are no multiple of head_dim (patch inputs, classes) are filled with zeros.
int8 is used inside the blocks, with one scale per output; both ends of such a file are bf16.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydrart.format.architecture import Architecture

PAGE = 4096

DTYPE_BYTES = {"F32": 4, "BF16": 2, "I8": 1, "U8": 1}
# precision -> dtype inside the blocks, dtype of the patch embedding and the classifier
PRECISIONS = {"fp32": ("F32", "F32"), "bf16": ("BF16", "BF16"), "int8": ("I8", "BF16")}


@dataclass(frozen=True)
class Matrix:
    """A weight matrix [outputs, inputs] and how its blocks grow with the heads.

    out_per_head, in_per_head: blocks of head_dim that each head adds; 0 where the side has the same length for
    every k (`outputs` or `inputs` then say which). only: the one k that uses it, for separate classifiers.
    """

    name: str
    dtype: str
    out_per_head: int
    in_per_head: int
    outputs: int = 0
    inputs: int = 0
    only: int | None = None

    def out_blocks(self, k: int, head_dim: int) -> int:
        return self.out_per_head * k or -(-self.outputs // head_dim)

    def in_blocks(self, k: int, head_dim: int) -> int:
        return self.in_per_head * k or -(-self.inputs // head_dim)


@dataclass(frozen=True)
class Vector:
    """Numbers per head, float32: `rows` of head_dim for each head, or `fixed` numbers in all.

    only: the one k that uses it; a fixed vector otherwise belongs to the first shell.
    """

    name: str
    rows: int = 0
    fixed: int = 0
    only: int | None = None


class Tensor(NamedTuple):
    """A tensor of the file: safetensors' dtype and shape, its range of bytes in the data, and its shell."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    shell: int


class Layout:
    """The tensors of a file, from its architecture and precision alone."""

    def __init__(self, arch: Architecture, precision: str) -> None:
        self.arch = arch
        self.precision = precision
        inner, outer = PRECISIONS[precision]
        self.matrices = {m.name: m for m in _matrices(arch, inner, outer)}
        self.vectors = {v.name: v for v in _vectors(arch, self.matrices.values())}

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, in the order of the file."""
        tensors, at = {}, 0
        for before, k in pairwise((0, *self.arch.heads)):
            for name, dtype, shape in self._shell(before, k):
                end = at + prod(shape) * DTYPE_BYTES[dtype]
                tensors[tensor_name(k, name)] = Tensor(dtype, shape, at, end, k)
                at = end
            if at % PAGE:
                end = at + PAGE - at % PAGE
                tensors[tensor_name(k, "padding")] = Tensor("U8", (end - at,), at, end, k)
                at = end
        return tensors

    @cached_property
    def ends(self) -> dict[int, int]:
        """For each k, how many bytes of the data its network needs."""
        return {t.shell: t.end for t in self.tensors.values()}

    def heads_in(self, shell: int) -> range:
        """The heads that the shell adds to those of the shells before it."""
        return range(max((k for k in self.arch.heads if k < shell), default=0), shell)

    def tiles(self, matrix: Matrix, shell: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Output and input block of each tile that the shell holds of the matrix, in the order of the file."""
        if matrix.only not in (None, shell):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        head_dim = self.arch.head_dim
        i = np.arange(matrix.out_blocks(shell, head_dim))
        j = np.arange(matrix.in_blocks(shell, head_dim))
        owner = np.maximum(
            (i // matrix.out_per_head if matrix.out_per_head else i * 0)[:, None],
            (j // matrix.in_per_head if matrix.in_per_head else j * 0)[None, :],
        )
        out, inner = np.nonzero(owner >= (0 if matrix.only else self.heads_in(shell).start))
        return out, inner

    def _shell(self, before: int, shell: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Name, dtype and shape of what k = shell needs beyond k = before."""
        head_dim = self.arch.head_dim

        def blocks(matrix: Matrix, k: int) -> int:
            return matrix.out_blocks(k, head_dim) * matrix.in_blocks(k, head_dim) if k else 0

        for matrix in self.matrices.values():
            if matrix.only in (None, shell):
                count = blocks(matrix, shell) - (0 if matrix.only else blocks(matrix, before))
                per = 4 // DTYPE_BYTES[matrix.dtype]
                yield matrix.name, matrix.dtype, (count, head_dim // per, head_dim, per)
        for vector in self.vectors.values():
            if vector.rows:
                yield vector.name, "F32", (shell - before, vector.rows, head_dim)
            elif vector.only == shell or (vector.only is None and not before):
                yield vector.name, "F32", (vector.fixed,)


def tensor_name(shell: int, name: str) -> str:
    """The name in the file of the part of `name` that `shell` holds."""
    return f"shell{shell:02d}.{name}"


def scale_name(matrix: str) -> str:
    """The name of an int8 matrix's scales, one per output."""
    return matrix.removesuffix("weight") + "scale"


def _matrices(arch: Architecture, inner: str, outer: str) -> Iterator[Matrix]:
    yield Matrix("patch_embed.proj.weight", outer, 1, 0, inputs=arch.patch_inputs)
    for i in range(arch.depth):
        yield Matrix(f"blocks.{i}.attn.qkv.weight", inner, 3, 1)
        yield Matrix(f"blocks.{i}.attn.proj.weight", inner, 1, 1)
        yield Matrix(f"blocks.{i}.mlp.fc1.weight", inner, 4, 1)
        yield Matrix(f"blocks.{i}.mlp.fc2.weight", inner, 1, 4)
    if arch.separate_classifiers:
        for k in arch.heads:
            yield Matrix(f"heads.{k}.weight", outer, 0, 1, outputs=arch.classes, only=k)
    else:
        yield Matrix("head.weight", outer, 0, 1, outputs=arch.classes)


def _vectors(arch: Architecture, matrices: Iterable[Matrix]) -> Iterator[Vector]:
    yield Vector("cls_token", rows=1)
    yield Vector("pos_embed", rows=arch.tokens)
    yield Vector("patch_embed.proj.bias", rows=1)
    for i in range(arch.depth):
        block = f"blocks.{i}"
        yield Vector(f"{block}.norm1.weight", rows=1)
        yield Vector(f"{block}.norm1.bias", rows=1)
        yield Vector(f"{block}.attn.qkv.bias", rows=3)
        yield Vector(f"{block}.attn.proj.bias", rows=1)
        if arch.layer_scale:
            yield Vector(f"{block}.ls1.gamma", rows=1)
        yield Vector(f"{block}.norm2.weight", rows=1)
        yield Vector(f"{block}.norm2.bias", rows=1)
        yield Vector(f"{block}.mlp.fc1.bias", rows=4)
        yield Vector(f"{block}.mlp.fc2.bias", rows=1)
        if arch.layer_scale:
            yield Vector(f"{block}.ls2.gamma", rows=1)
    yield Vector("norm.weight", rows=1)
    yield Vector("norm.bias", rows=1)
    if arch.separate_classifiers:
        for k in arch.heads:
            yield Vector(f"heads.{k}.bias", fixed=arch.classes, only=k)
    else:
        yield Vector("head.bias", fixed=arch.classes)
    for matrix in matrices:
        if matrix.dtype == "I8":
            yield Vector(scale_name(matrix.name), rows=matrix.out_per_head)
