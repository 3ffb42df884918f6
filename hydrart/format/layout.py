"""Where every weight lies in a weight file.

A matrix is cut into head_dim x head_dim tiles. Tile (i, j) multiplies input block j into output block i. It belongs to
the head that first needs it: the larger of the two blocks' heads. The file is a sequence of shells, one per trained k.
A shell holds what its k needs beyond the k before it. The bytes of any k are therefore a prefix of the data:

    shell = tiles of patch_embed, blocks.0.attn.qkv, .attn.proj, .mlp.fc1, .mlp.fc2, ..., head
            (a matrix's tiles by output block, then input block), then vectors, then zeros up to a page

A tile is stored as [head_dim / per][head_dim][per]. Each 32-bit lane holds `per` consecutive inputs of one output:
1 in fp32, 2 in bf16, 4 in int8. The rows of qkv are ordered by head, and within a head q, k, v. A prefix of heads is
therefore a prefix of rows. Sides that are no multiple of head_dim (patch inputs, classes) are filled with zeros.
An int8 file is int8 inside the blocks, with one scale per output. Its patch embedding and classifier are bf16.

The file of a network of several looks (version 2) has a shell for each look. What one look alone uses lies in its shell
at full length: matrices in tiles, and vectors in the order of their dense shape, such as positions by token.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hydrart.format.architecture import Architecture
from hydrart.format.precision import FP32, PRECISIONS, FloatArray, Precision
from hydrart.format.roles import Each, Parameter, parameters_of

PAGE = 4096
PADDING = "U8"  # safetensors' type of the zeros at the end of a shell


@dataclass(frozen=True)
class Matrix:
    """How a weight matrix [outputs, inputs] lies in the file, and how it grows with the heads.

    - out_per_head, in_per_head: blocks of head_dim that each head adds to a side; 0 for a side that does not grow.
    - outputs, inputs: the length of a side that does not grow.
    - only: the one k that uses the matrix. Separate classifiers and fusions have it.
    """

    parameter: Parameter
    precision: Precision
    head_dim: int
    out_per_head: int
    in_per_head: int
    outputs: int = 0
    inputs: int = 0
    only: int | None = None

    @classmethod
    def of(cls, parameter: Parameter, precision: Precision) -> "Matrix":
        """The layout of a matrix. Its input axes are merged into one where none of them grows."""
        arch, (out, *inner) = parameter.arch, parameter.part.sides
        k = parameter.only or 1
        fixed_out = 0 if out.per_head else out.length(arch, k)
        fixed_in = 0 if inner[0].per_head else prod(side.length(arch, k) for side in inner)
        sizes = (out.per_head, inner[0].per_head, fixed_out, fixed_in)
        return cls(parameter, precision, arch.head_dim, *sizes, only=parameter.only)

    @property
    def name(self) -> str:
        return self.parameter.name

    def out_blocks(self, k: int) -> int:
        """Blocks of head_dim outputs with k heads. Zeros may fill the last block."""
        return self.out_per_head * k or -(-self.outputs // self.head_dim)

    def in_blocks(self, k: int) -> int:
        """Blocks of head_dim inputs with k heads. Zeros may fill the last block."""
        return self.in_per_head * k or -(-self.inputs // self.head_dim)

    def rows_of(self, dense: FloatArray, k: int) -> FloatArray:
        """timm's shape -> [outputs, inputs], with the rows in the file's order: by head, and within a head q, k, v."""
        flat = dense.reshape(dense.shape[0], -1)
        parts = self.parameter.part.sides[0].parts
        if parts == 1:
            return flat
        return flat.reshape(parts, k, -1, flat.shape[1]).swapaxes(0, 1).reshape(flat.shape)

    def dense_of(self, rows: FloatArray, k: int) -> FloatArray:
        """The inverse of rows_of."""
        parts = self.parameter.part.sides[0].parts
        if parts > 1:
            rows = rows.reshape(k, parts, -1, rows.shape[1]).swapaxes(0, 1)
        return rows.reshape(self.parameter.shape(k))

    def tiles_of(self, rows: NDArray[Any], k: int) -> NDArray[Any]:
        """[outputs, inputs] -> [output block, head_dim, input block, head_dim], with zeros at the edges."""
        d, out, inner = self.head_dim, self.out_blocks(k), self.in_blocks(k)
        padded = np.zeros((out * d, inner * d), rows.dtype)
        padded[: rows.shape[0], : rows.shape[1]] = rows
        return padded.reshape(out, d, inner, d)


@dataclass(frozen=True)
class Vector:
    """A float32 tensor that is no matrix: `rows` times head_dim numbers per head, or `fixed` numbers in all.

    - parameter: the tensor; None for the scales of a matrix.
    - only: the one k that uses the vector. A fixed vector without it belongs to the first shell.
    """

    name: str
    head_dim: int
    parameter: Parameter | None = None
    rows: int = 0
    fixed: int = 0
    only: int | None = None

    @classmethod
    def of(cls, parameter: Parameter) -> "Vector":
        """The layout of a tensor that is no matrix."""
        arch, axis = parameter.arch, parameter.growing
        if axis is None or parameter.only:
            fixed = prod(parameter.shape(1))
            return cls(parameter.name, arch.head_dim, parameter, fixed=fixed, only=parameter.only)
        rows = prod(parameter.shape(1)) // arch.head_dim
        return cls(parameter.name, arch.head_dim, parameter, rows=rows)

    def by_head(self, dense: FloatArray, k: int) -> FloatArray:
        """timm's shape -> [k, rows, head_dim]."""
        return dense.reshape(-1, k, self._run, self.head_dim).swapaxes(0, 1).reshape(k, self.rows, self.head_dim)

    def dense_of(self, by_head: FloatArray, k: int) -> FloatArray:
        """The inverse of by_head."""
        rows = by_head.reshape(k, -1, self._run, self.head_dim).swapaxes(0, 1)
        return rows.reshape(self.parameter.shape(k)) if self.parameter else rows.reshape(-1)

    @property
    def _run(self) -> int:
        """How many rows of a head are neighbours in timm's order. The axis of tokens, or of q, k and v, is outside."""
        if self.parameter is None or self.parameter.growing is None:
            return self.rows
        side = self.parameter.part.sides[self.parameter.growing]
        return side.per_head // side.parts


class Entry(NamedTuple):
    """A tensor of the file: its dtype and shape as safetensors writes them, its bytes in the data, and its shell."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    shell: int


class Layout:
    """The tensors of a file. They follow from its architecture and the name of its precision alone.

    - matrices, vectors: by timm's name.
    - scales: by the name of the matrix. A matrix whose precision has no scales is absent.
    """

    def __init__(self, arch: Architecture, precision: str) -> None:
        self.arch = arch
        self.precision = PRECISIONS[precision]
        self.matrices: dict[str, Matrix] = {}
        self.vectors: dict[str, Vector] = {}
        self.scales: dict[str, Vector] = {}
        for name, parameter in parameters_of(arch).items():
            if not parameter.part.is_matrix:
                self.vectors[name] = Vector.of(parameter)
                continue
            inside = parameter.role.each is Each.BLOCK
            matrix = Matrix.of(parameter, self.precision if inside else self.precision.outer)
            self.matrices[name] = matrix
            if matrix.precision.scaled:
                self.scales[name] = Vector(_scale_name(parameter), arch.head_dim, rows=matrix.out_per_head)

    @cached_property
    def tensors(self) -> dict[str, Entry]:
        """Every tensor of the file by its name there, in the order of the file."""
        tensors, at = {}, 0
        for before, k in pairwise((0, *self.arch.heads)):
            for name, precision, shape in self._shell(before, k):
                end = at + prod(shape) * precision.bytes
                tensors[tensor_name(k, name)] = Entry(precision.dtype, shape, at, end, k)
                at = end
            if at % PAGE:
                end = at + PAGE - at % PAGE
                tensors[tensor_name(k, "padding")] = Entry(PADDING, (end - at,), at, end, k)
                at = end
        return tensors

    @cached_property
    def ends(self) -> dict[int, int]:
        """k -> number of bytes of the data that its network needs."""
        return {t.shell: t.end for t in self.tensors.values()}

    def heads_in(self, shell: int) -> range:
        """The heads that the shell adds to those of the shells before it."""
        return range(max((k for k in self.arch.heads if k < shell), default=0), shell)

    def tiles(self, matrix: Matrix, shell: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The output blocks and the input blocks of the matrix's tiles in this shell, in the order of the file."""
        if matrix.only not in (None, shell):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        i = np.arange(matrix.out_blocks(shell))
        j = np.arange(matrix.in_blocks(shell))
        owner = np.maximum(
            (i // matrix.out_per_head if matrix.out_per_head else i * 0)[:, None],
            (j // matrix.in_per_head if matrix.in_per_head else j * 0)[None, :],
        )
        out, inner = np.nonzero(owner >= (0 if matrix.only else self.heads_in(shell).start))
        return out, inner

    def _shell(self, before: int, shell: int) -> Iterator[tuple[str, Precision, tuple[int, ...]]]:
        """Name, precision and shape of what k = shell needs beyond k = before."""
        head_dim = self.arch.head_dim

        def blocks(matrix: Matrix, k: int) -> int:
            return matrix.out_blocks(k) * matrix.in_blocks(k) if k else 0

        for matrix in self.matrices.values():
            if matrix.only in (None, shell):
                count = blocks(matrix, shell) - (0 if matrix.only else blocks(matrix, before))
                per = matrix.precision.per
                yield matrix.name, matrix.precision, (count, head_dim // per, head_dim, per)
        for vector in (*self.vectors.values(), *self.scales.values()):
            if vector.rows:
                yield vector.name, FP32, (shell - before, vector.rows, head_dim)
            elif vector.only == shell or (vector.only is None and not before):
                yield vector.name, FP32, (vector.fixed,)


def tensor_name(shell: int, name: str) -> str:
    """How the file names the part of tensor `name` that `shell` holds."""
    return f"shell{shell:02d}.{name}"


def _scale_name(parameter: Parameter) -> str:
    return parameter.role.at(parameter.index) + ".scale"
