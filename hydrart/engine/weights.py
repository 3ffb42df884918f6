"""A mapped weight file as the kernels see it: addresses of tiles, and the vectors of the heads in use."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.codegen.emit_gemm import ADD, STORE_BF16
from hydrart.engine.kernels import gemm
from hydrart.engine.kernels.intrinsics import ISA
from hydrart.engine.kernels.state import MATRIX
from hydrart.errors import WeightFileError
from hydrart.format.layout import DTYPE_BYTES, Matrix, tensor_name
from hydrart.format.reader import WeightFile

_PRECISION = {"F32": gemm.FP32, "BF16": gemm.BF16, "I8": gemm.INT8}
_SPARE = 2 * gemm.GROUP  # register tiles read past the end of a vector


class KernelWeights:
    """Filled shell by shell as larger k are asked for, so that no byte beyond the prefix in use is touched.

    Matrices stay where they are mapped. Vectors, half a percent of the weights, are copied, because the kernels want
    those of all heads in one piece.

    matrices: MATRIX records, patch embedding, then qkv, proj, fc1, fc2 of each block, then the classifier of
    every k that has its own. table: int64, addresses of the tiles of each matrix by output and input block, then
    of each head's positions from `positions` on.
    """

    def __init__(self, file: WeightFile) -> None:
        self._file, self._arch, self._layout = file, file.meta.architecture, file.layout
        self._base: int = file.data.__array_interface__["data"][0]
        self._heads = 0  # what the table holds
        self._k = 0  # in use
        head_dim, most = self._arch.head_dim, self._arch.heads[-1]
        matrices = list(self._layout.matrices.values())
        self.matrices: NDArray[Any] = np.zeros(len(matrices) + 1, MATRIX)
        self._vectors: dict[str, NDArray[np.float32]] = {
            v.name: np.zeros((v.fixed or v.rows * most * head_dim) + _SPARE, np.float32)
            for v in self._layout.vectors.values()
            if v.name != "pos_embed" and not _is_norm(v.name)
        }
        self.norm_stride = most * head_dim
        self.norms = np.zeros((2 * self._arch.depth + 1, 2, self.norm_stride), np.float32)
        precisions = {_PRECISION[matrix.dtype] for matrix in matrices if matrix.name.endswith("attn.qkv.weight")}
        self.short = ISA.short and gemm.FP32 not in precisions and head_dim // 2 >= gemm.LANES
        self._columns = 0
        self._sums: dict[int, NDArray[np.float32]] = {}
        entries = 0
        for record, matrix in zip(self.matrices, matrices, strict=False):
            k = matrix.only or most
            per = 4 // DTYPE_BYTES[matrix.dtype]
            record["first"], record["stride"] = entries, matrix.in_blocks(k, head_dim)
            record["precision"] = _PRECISION[matrix.dtype]
            record["rows"], record["tile_bytes"] = head_dim // per, head_dim * head_dim * 4 // per
            name = matrix.name.removesuffix("weight")
            record["bias"] = self._address(name + "bias")
            record["scale"] = self._address(name + "scale")
            record["tile_shift"] = int(record["tile_bytes"]).bit_length() - 1
            if name.endswith(("attn.proj.", "mlp.fc2.")):
                record["mode"] = ADD
            elif name.endswith("attn.qkv.") and self.short:
                record["mode"] = STORE_BF16
            if record["precision"] == gemm.INT8:
                record["sums"] = self._columns
                self._columns += matrix.out_blocks(k, head_dim) * head_dim
            record["activate"] = name.endswith("mlp.fc1.")
            branch = {"attn.proj.": "ls1.gamma", "mlp.fc2.": "ls2.gamma"}
            for end, gamma in branch.items():
                if name.endswith(end):
                    record["gamma"] = self._address(name.removesuffix(end) + gamma)
            entries += matrix.out_blocks(k, head_dim) * matrix.in_blocks(k, head_dim)
        self.positions = entries
        # what is prefetched may lie one chunk beyond the last matrix
        self.table = np.zeros(entries + max(most, 4 * gemm.GROUP), np.int64)
        self.matrices[-1] = self.matrices[0]  # "the one after" the last
        self._per_head = np.array([matrix.in_per_head for matrix in (*matrices, matrices[0])])

    def cls_token(self) -> int:
        """Address of the class token."""
        return self._address("cls_token")

    def classifier(self, k: int) -> int:
        """Which MATRIX classifies k heads."""
        first = 1 + 4 * self._arch.depth
        return first + (self._arch.heads.index(k) if self._arch.separate_classifiers else 0)

    def sums(self, k: int) -> tuple[int, bool]:
        """Address of the column sums for k heads, and whether the kernels have yet to fill them."""
        new = k not in self._sums and gemm.INTEGER and self._columns > 0
        if new:
            self._sums[k] = np.zeros(self._columns + _SPARE, np.float32)
        of_k = self._sums.get(k)
        return 0 if of_k is None else int(of_k.__array_interface__["data"][0]), new

    def prepare(self, k: int) -> None:
        """Make everything that k heads need available. Raises WeightFileError."""
        if k == self._k:
            return
        for shell in self._arch.heads:
            if self._heads < shell <= k:
                self._add(shell)
                self._heads = shell
        self.matrices["depth"] = np.where(self._per_head, self._per_head * k, self.matrices["stride"])
        self._k = k

    def _address(self, name: str) -> int:
        vector = self._vectors.get(name)
        return 0 if vector is None else int(vector.__array_interface__["data"][0])

    def _add(self, shell: int) -> None:
        layout, head_dim, heads = self._layout, self._arch.head_dim, self._layout.heads_in(shell)

        @cache
        def places(out_per_head: int, in_per_head: int, outputs: int, inputs: int) -> Any:
            return layout.tiles(Matrix("", "F32", out_per_head, in_per_head, outputs, inputs), shell)

        for record, matrix in zip(self.matrices, layout.matrices.values(), strict=False):
            if matrix.only not in (None, shell):
                continue
            if matrix.only:
                out, inner = layout.tiles(matrix, shell)
            else:
                out, inner = places(matrix.out_per_head, matrix.in_per_head, matrix.outputs, matrix.inputs)
            begin = self._base + layout.tensors[tensor_name(shell, matrix.name)].begin
            self.table[record["first"] + out * record["stride"] + inner] = begin + np.arange(len(out)) * int(
                record["tile_bytes"]
            )
        for vector in layout.vectors.values():
            if vector.fixed and (vector.only or self._arch.heads[0]) != shell:
                continue
            part = self._file.part(shell, vector.name)
            if not np.isfinite(part).all():
                raise WeightFileError(f"{self._file.path} is damaged: {vector.name} holds numbers that are not finite")
            if vector.name == "pos_embed":
                address = int(part.__array_interface__["data"][0])
                at = self.positions + heads.start
                self.table[at : at + len(heads)] = address + np.arange(len(heads)) * vector.rows * head_dim * 4
                continue
            if vector.name.endswith("scale") and not (part > 0).all():
                raise WeightFileError(f"{self._file.path} is damaged: {vector.name} holds a scale that is not positive")
            target, begin = self._target(vector.name), heads.start * vector.rows * head_dim
            target[begin : begin + part.size] = part.reshape(-1)

    def _target(self, name: str) -> NDArray[np.float32]:
        if not _is_norm(name):
            return self._vectors[name]
        *place, norm, kind = name.split(".")
        index = 2 * int(place[1]) + (norm == "norm2") if place else 2 * self._arch.depth
        target: NDArray[np.float32] = self.norms[index, int(kind == "bias")]
        return target


def _is_norm(name: str) -> bool:
    return name.split(".")[-2] in ("norm", "norm1", "norm2") if "." in name else False
