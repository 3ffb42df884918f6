"""Describe a mapped weight file to the kernels: addresses of tiles, and the vectors of the heads in use."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.codegen.records import ADD, STORE_BF16
from hydrart.engine.kernels import fusion, gemm, state
from hydrart.engine.kernels.intrinsics import ISA
from hydrart.format.architecture import Architecture
from hydrart.format.layout import Vector, tensor_name
from hydrart.format.precision import BF16, FP32, INT8
from hydrart.format.reader import WeightFile
from hydrart.format.roles import (
    BLOCK_MATRICES,
    BLOCK_NORMS,
    CLASS_TOKEN,
    FC1,
    FC2,
    FINAL_NORM,
    FUSION,
    FUSION_CLASS_TOKEN,
    FUSION_DEPTHWISE,
    FUSION_PATCHES,
    LOOK_GATE,
    LOOK_POSITIONS,
    NORM,
    NORM1,
    NORM2,
    PATCH,
    POSITIONS,
    PROJ,
    QKV,
    Role,
    Then,
    classifier,
    matrix_index,
)

_CODES = {FP32.name: gemm.FP32, BF16.name: gemm.BF16, INT8.name: gemm.INT8}
_FUSIONS = (FUSION, FUSION_PATCHES, FUSION_CLASS_TOKEN)
_SPARE = 2 * gemm.GROUP  # extra numbers in each vector, because microtiles read past its end


def check_order() -> None:
    """Check that the kernels' order of matrices and norms is that of the roles.

    The kernels have an order of their own. If they imported the roles, an edit of the roles would compile them again.
    """
    order = {PATCH: state.PATCH, QKV: state.QKV, PROJ: state.PROJ, FC1: state.FC1, FC2: state.FC2}
    if (
        any(matrix_index(role) != place for role, place in order.items())
        or len(BLOCK_MATRICES) != state.PER_BLOCK
        or BLOCK_NORMS != (NORM1, NORM2)
    ):
        raise AssertionError("the kernels have another order of matrices than the roles")


check_order()


class KernelWeights:
    """The tables of addresses that the kernels read.

    They are filled shell by shell as larger ks run, so that no byte beyond the prefix in use is touched. Matrices stay
    mapped. Vectors, half a percent of the weights, are copied, because the kernels need those of all heads in one
    piece.

    - matrices: MATRIX records in the order of the file (roles.matrix_index): patch embedding, the matrices of each
      block, the classifier or those of every k.
    - table: int64 addresses. The tiles of each matrix come by output block and input block, then, from index
      `positions` on, the positions of each head. Those of a look replace those of another.
    - norms: float32 [2 * depth + 1, 2, norm_stride], weight and bias of each LayerNorm. Those of each block come in the
      order of roles.BLOCK_NORMS, and the final one comes last.
    """

    def __init__(self, file: WeightFile) -> None:
        self._file, self._arch, self._layout = file, file.meta.architecture, file.layout
        self._base: int = file.data.__array_interface__["data"][0]
        self._heads = 0  # number of heads in the table
        self._k = 0  # the k in use
        layout, head_dim, most = self._layout, self._arch.head_dim, self._arch.heads[-1]
        matrices = list(layout.matrices.values())
        self.matrices: NDArray[Any] = np.zeros(len(matrices), state.MATRIX)
        self._places = {name: place for place, name in enumerate(layout.matrices)}
        self._positions = {name for i in (None, *self._arch.heads) for name in _positions(self._arch).names(i)}
        self.norm_stride = most * head_dim
        self.norms = np.zeros((len(BLOCK_NORMS) * self._arch.depth + 1, len(NORM), self.norm_stride), np.float32)
        self._gates = {k: np.zeros((self._arch.depth, self._arch.width(k)), np.float32) for k in self._arch.heads}
        self._taps: dict[int, NDArray[np.float32]] = {}  # the depthwise filter of each look, [9, channels]
        self._zeros = np.zeros(self.norm_stride, np.float32)
        self._copies: dict[str, NDArray[np.float32]] = self._norm_rows() | self._gate_rows()
        for vector in (*layout.vectors.values(), *layout.scales.values()):
            if vector.name not in self._copies and vector.name not in self._positions:
                numbers = vector.fixed or vector.rows * most * head_dim
                self._copies[vector.name] = np.zeros(numbers + _SPARE, np.float32)
        self.bfloat16 = ISA.rounds_bf16 and layout.precision != FP32 and head_dim // 2 >= gemm.LANES
        self._columns = 0
        self._sums: dict[int, NDArray[np.float32]] = {}
        entries = 0
        for record, matrix in zip(self.matrices, matrices, strict=True):
            k, precision = matrix.only or most, matrix.precision
            role, index = matrix.parameter.role, matrix.parameter.index
            record["first_tile"], record["tile_stride"] = entries, matrix.in_blocks(k)
            record["precision"] = _CODES[precision.name]
            record["lane_rows"], record["tile_bytes"] = head_dim // precision.per, head_dim * head_dim * precision.bytes
            record["tile_bytes_log2"] = int(record["tile_bytes"]).bit_length() - 1
            if len(role.parts) > 1:
                record["bias"] = self._address(role.names(index)[1])
            if precision.scaled:
                record["scales"] = self._address(layout.scales[matrix.name].name)
                record["first_sum"] = self._columns
                self._columns += matrix.out_blocks(k) * head_dim
            if role.then is Then.RESIDUAL or role in _FUSIONS:
                record["mode"] = ADD
            elif role.then is Then.ATTENTION and self.bfloat16:
                record["mode"] = STORE_BF16
            record["gelu"] = role.then is Then.GELU
            if (scale := role.scale(self._arch)) and not scale.each.by_k:
                record["gamma"] = self._address(scale.names(index)[0])
            entries += matrix.out_blocks(k) * matrix.in_blocks(k)
        self.positions = entries
        self.table = np.zeros(entries + most, np.int64)

    def cls_token(self) -> int:
        """The address of the class token. It is 0 where the positions hold the class token."""
        if not CLASS_TOKEN.used(self._arch):
            return _address(self._zeros)
        return self._address(CLASS_TOKEN.names()[0])

    def classifier(self, k: int) -> int:
        """The index of the MATRIX record of k's classifier."""
        return self._places[classifier(self._arch).names(k)[0]]

    def look(self, k: int) -> dict[str, int]:
        """The fields of NETWORK that differ from look to look. prepare(k) has to come first."""
        arch, before = self._arch, self._arch.before(k)
        fields = {
            "tokens": arch.tokens(k),
            "image_size": arch.size(k),
            "position_bytes": (arch.width(k) if arch.looks else arch.head_dim) * 4,
            "gates": _address(self._gates[k]) if LOOK_GATE.used(arch) else 0,
            "fusion": fusion.NOTHING,
        }
        if before:
            fields |= {"before_k": before, "before_side": arch.grid(before)}
        if before and arch.fusion == "tokens":
            fields |= {"fusion": fusion.ALL_TOKENS, "fusion_patches": self._places[FUSION.names(k)[0]]}
        elif before:
            patches, class_token = (self._places[role.names(k)[0]] for role in (FUSION_PATCHES, FUSION_CLASS_TOKEN))
            fields |= {"fusion": fusion.GRID, "fusion_patches": patches, "fusion_class_token": class_token}
            fields["depthwise"] = _address(self._taps[k])
        return fields

    def sums(self, k: int) -> tuple[int, bool]:
        """The address of the column sums for k heads, and whether the kernels still have to compute them."""
        new = k not in self._sums and gemm.INTEGER and self._columns > 0
        if new:
            self._sums[k] = np.zeros(self._columns + _SPARE, np.float32)
        of_k = self._sums.get(k)
        return 0 if of_k is None else _address(of_k), new

    def prepare(self, k: int) -> None:
        """Fill the tables for k heads. Raises WeightFileError."""
        if k == self._k:
            return
        for shell in self._arch.heads:
            if self._heads < shell <= k:
                self._add(shell)
                self._heads = shell
        matrices = self._layout.matrices.values()
        self.matrices["output_tiles"] = [matrix.out_blocks(k) for matrix in matrices]
        self.matrices["input_tiles"] = [matrix.in_blocks(k) for matrix in matrices]
        if self._arch.looks:
            self._prepare_look(k)
        self._k = k

    def _prepare_look(self, k: int) -> None:
        """Fill in the positions and the scales of a look."""
        (name,) = LOOK_POSITIONS.names(k)
        positions = _address(self._file.part(k, name))
        self.table[self.positions : self.positions + k] = positions + np.arange(k) * self._arch.head_dim * 4
        for record, matrix in zip(self.matrices, self._layout.matrices.values(), strict=True):
            scale, block = matrix.parameter.role.scale(self._arch), matrix.parameter.index
            if scale and scale.each.by_k:
                place = scale.each.index(k, block if isinstance(block, int) else None)
                record["gamma"] = self._address(scale.names(place)[0])

    def start_anew(self) -> None:
        """Make available again what prepare() and the kernels may have left half done."""
        self._k = 0
        self._sums.clear()

    def _norm_rows(self) -> dict[str, NDArray[np.float32]]:
        """The rows of `norms` by the names of their tensors."""
        norms = [(role, i) for i in range(self._arch.depth) for role in BLOCK_NORMS]
        return {
            name: row
            for (role, i), rows in zip([*norms, (FINAL_NORM, None)], self.norms, strict=True)
            for name, row in zip(role.names(i), rows, strict=True)
        }

    def _gate_rows(self) -> dict[str, NDArray[np.float32]]:
        """The rows of the gates by the names of their tensors."""
        return {LOOK_GATE.names((k, i))[0]: row for k, rows in self._gates.items() for i, row in enumerate(rows)}

    def _address(self, name: str) -> int:
        return _address(self._copies[name])

    def _add(self, shell: int) -> None:
        self._file.check(shell)
        layout, places = self._layout, dict[Role, Any]()  # the tiles of a role have the same order in every block
        for record, matrix in zip(self.matrices, layout.matrices.values(), strict=True):
            if matrix.only not in (None, shell):
                continue
            role = matrix.parameter.role
            if role not in places:
                places[role] = layout.tiles(matrix, shell)
            out, inner = places[role]
            begin = self._base + layout.tensors[tensor_name(shell, matrix.name)].begin
            self.table[record["first_tile"] + out * record["tile_stride"] + inner] = begin + np.arange(len(out)) * int(
                record["tile_bytes"]
            )
        for vector in layout.vectors.values():
            if vector.rows or (vector.only or self._arch.heads[0]) == shell:
                self._copy(vector, shell)
        for scale in layout.scales.values():
            self._copy(scale, shell)
        if FUSION_DEPTHWISE.used(self._arch) and (before := self._arch.width_before(shell)):
            taps = self._copies[FUSION_DEPTHWISE.names(shell)[0]][: 9 * before]
            self._taps[shell] = np.ascontiguousarray(taps.reshape(before, 9).T)

    def _copy(self, vector: Vector, shell: int) -> None:
        heads, row_length = self._layout.heads_in(shell), vector.rows * self._arch.head_dim
        part = self._file.part(shell, vector.name)
        if vector.name in self._copies:
            begin = heads.start * row_length
            self._copies[vector.name][begin : begin + part.size] = part.reshape(-1)
        elif not self._arch.looks:  # the position embedding
            address = _address(part)
            at = self.positions + heads.start
            self.table[at : at + len(heads)] = address + np.arange(len(heads)) * row_length * part.itemsize


def _positions(arch: Architecture) -> Role:
    return LOOK_POSITIONS if arch.looks else POSITIONS


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
