"""layout.py: which shell holds what, and where a number lies, from the description of the format alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hydrart.format.architecture import Architecture
from hydrart.format.layout import PAGE, Layout, Matrix, Vector, tensor_name
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FP32, INT8
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.roles import parameters_of
from hydrart.format.writer import write
from tests.support.architectures import architectures, precisions
from tests.support.networks import SMALL

Entries = dict[str, tuple[str, tuple[int, ...]]]

TINY = Architecture(image_size=8, patch=4, depth=1, head_dim=16, heads=(1, 2, 4), classes=5)


def first_needing(arch: Architecture, block: int, per_head: int) -> int:
    """The smallest trained k whose prefix holds this block; written without layout.py's arithmetic."""
    return next(k for k in arch.heads if per_head == 0 or block < per_head * k)


@architectures
@precisions
def test_every_byte_that_k_needs_lies_in_its_prefix(arch: Architecture, precision: str) -> None:
    layout = Layout(arch, precision)
    at = 0
    for tensor in layout.tensors.values():
        assert tensor.begin == at, "no holes, no overlaps"
        assert tensor.end <= layout.ends[tensor.shell]
        at = tensor.end
    ends = list(layout.ends.values())
    assert list(layout.ends) == list(arch.heads) and ends == sorted(ends) and ends[-1] == at
    assert all(end % PAGE == 0 for end in ends)
    for matrix in layout.matrices.values():
        seen = set()
        for shell in arch.heads:
            for i, j in zip(*layout.tiles(matrix, shell), strict=True):
                owner = max(
                    first_needing(arch, int(i), matrix.out_per_head), first_needing(arch, int(j), matrix.in_per_head)
                )
                assert shell == (matrix.only or owner)
                assert (i, j) not in seen
                seen.add((int(i), int(j)))
        k = matrix.only or arch.heads[-1]
        assert len(seen) == matrix.out_blocks(k) * matrix.in_blocks(k)


def test_the_tensors_of_a_small_file_in_its_order() -> None:
    """One block, heads (1, 2), int8: written out by the rules of the module's docstring."""
    arch = replace(TINY, heads=(1, 2))
    found = {name: (t.dtype, t.shape) for name, t in Layout(arch, "int8").tensors.items()}
    expected: Entries = {}
    for shell, heads, pairs in ((1, 1, 1), (2, 1, 3)):  # pairs: tiles of a matrix that grows on both sides
        tiles: Entries = {
            "patch_embed.proj.weight": ("BF16", (3 * heads, 8, 16, 2)),  # 48 inputs of a patch
            "blocks.0.attn.qkv.weight": ("I8", (3 * pairs, 4, 16, 4)),
            "blocks.0.attn.proj.weight": ("I8", (pairs, 4, 16, 4)),
            "blocks.0.mlp.fc1.weight": ("I8", (4 * pairs, 4, 16, 4)),
            "blocks.0.mlp.fc2.weight": ("I8", (4 * pairs, 4, 16, 4)),
            "head.weight": ("BF16", (heads, 8, 16, 2)),  # 5 classes are filled up to 16
        }
        rows = {"cls_token": 1, "pos_embed": 5, "patch_embed.proj.bias": 1}
        block = {"norm1.weight": 1, "norm1.bias": 1, "attn.qkv.bias": 3, "attn.proj.bias": 1}
        block |= {"norm2.weight": 1, "norm2.bias": 1, "mlp.fc1.bias": 4, "mlp.fc2.bias": 1}
        rows |= {f"blocks.0.{name}": count for name, count in block.items()} | {"norm.weight": 1, "norm.bias": 1}
        scales = {"attn.qkv": 3, "attn.proj": 1, "mlp.fc1": 4, "mlp.fc2": 1}
        entries: Entries = tiles | {name: ("F32", (heads, count, 16)) for name, count in rows.items()}
        if shell == 1:
            entries["head.bias"] = ("F32", (5,))
        entries |= {f"blocks.0.{name}.scale": ("F32", (heads, count, 16)) for name, count in scales.items()}
        size = {"BF16": 2, "I8": 1, "F32": 4}
        used = sum(int(np.prod(shape)) * size[dtype] for dtype, shape in entries.values())
        entries["padding"] = ("U8", (-used % PAGE,))
        expected |= {f"shell{shell:02d}.{name}": entry for name, entry in entries.items()}
    assert found == expected and list(found) == list(expected)


def test_every_number_of_every_matrix_lies_where_the_format_says(tmp_path: Path) -> None:
    """Each number is its own address: output * 1000 + input. The bytes of the file are then taken apart by hand."""
    k, d = 4, 16
    state = {}
    for name, parameter in parameters_of(TINY).items():
        outputs, *inputs = parameter.shape(k)
        columns = int(np.prod(inputs))
        numbers = np.arange(outputs)[:, None] * 1000 + np.arange(columns)[None, :]
        state[name] = numbers.reshape(parameter.shape(k)).astype(np.float32)
    path = tmp_path / "x.safetensors"
    write(path, Metadata(TINY, "fp32", Preprocessing(8)), state)
    file = WeightFile(path)
    blocks = {"patch_embed.proj": (1, 0), "attn.qkv": (3, 1), "attn.proj": (1, 1), "mlp.fc1": (4, 1), "mlp.fc2": (1, 4)}
    for role, (out_per_head, in_per_head) in blocks.items():
        name = f"{'' if role.startswith('patch') else 'blocks.0.'}{role}.weight"
        for before, shell in ((0, 1), (1, 2), (2, 4)):
            tiles = iter(file.part(shell, name))
            for i in range(out_per_head * shell):
                for j in range(in_per_head * shell or 3):
                    if max(i // out_per_head, j // in_per_head if in_per_head else 0) < before:
                        continue  # an earlier shell has it
                    first = i * d  # the tile's first output in timm's order
                    if role == "attn.qkv":  # the file has q, k and v of head 0, then those of head 1
                        first = (i % 3) * k * d + i // 3 * d
                    expected = (first + np.arange(d))[None, :] * 1000 + (j * d + np.arange(d))[:, None]
                    np.testing.assert_array_equal(next(tiles)[:, :, 0], expected, err_msg=f"{name} {shell} {i} {j}")
            assert next(tiles, None) is None


def test_a_vector_lies_by_head() -> None:
    layout = Layout(TINY, "fp32")
    k, d = 4, 16
    places: dict[str, Callable[[int, int, int], int]] = {  # of head h, row r, channel c in timm's order
        "pos_embed": lambda h, r, c: r * k * d + h * d + c,
        "cls_token": lambda h, r, c: h * d + c,
        "blocks.0.attn.qkv.bias": lambda h, r, c: r * k * d + h * d + c,
        "blocks.0.mlp.fc1.bias": lambda h, r, c: h * 4 * d + r * d + c,
        "norm.weight": lambda h, r, c: h * d + c,
    }
    for name, at in places.items():
        vector = layout.vectors[name]
        assert vector.parameter is not None
        shape = vector.parameter.shape(k)
        dense = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        by_head = vector.by_head(dense, k)
        assert by_head.shape == (k, vector.rows, d)
        for (h, r, c), value in np.ndenumerate(by_head):
            assert value == at(h, r, c), name
        np.testing.assert_array_equal(vector.dense_of(by_head, k), dense)


@architectures
def test_rows_and_back(arch: Architecture) -> None:
    k = arch.heads[-1]
    for parameter in parameters_of(arch).values():
        shape = parameter.shape(k)
        dense = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        if parameter.part.is_matrix:
            matrix = Matrix.of(parameter, FP32)
            rows = matrix.rows_of(dense, matrix.only or k)
            np.testing.assert_array_equal(matrix.dense_of(rows, matrix.only or k), dense)
        elif not (vector := Vector.of(parameter)).fixed:
            np.testing.assert_array_equal(vector.dense_of(vector.by_head(dense, k), k), dense)


def test_only_the_blocks_of_an_int8_file_are_int8() -> None:
    layout = Layout(SMALL, "int8")
    inside = {name for name, matrix in layout.matrices.items() if matrix.precision is INT8}
    assert inside == {name for name in layout.matrices if name.startswith("blocks.")} == set(layout.scales)
    assert not Layout(SMALL, "bf16").scales
    shell = tensor_name(3, layout.scales["blocks.1.mlp.fc1.weight"].name)
    assert shell == "shell03.blocks.1.mlp.fc1.scale" and layout.tensors[shell].shape == (3, 4, 16)


@pytest.mark.parametrize(("shell", "heads"), [(1, [0]), (2, [1]), (4, [2, 3])])
def test_a_shell_adds_the_heads_after_those_of_the_shell_before(shell: int, heads: list[int]) -> None:
    assert list(Layout(TINY, "fp32").heads_in(shell)) == heads
