"""The tables that the kernels read, against the file and the roles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydrart.codegen.records import ADD, STORE, STORE_BF16
from hydrart.engine import weights
from hydrart.engine.kernels import gemm, state
from hydrart.engine.weights import KernelWeights, check_order
from hydrart.format import roles
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from tests.support.networks import SMALL, make_file

Make = Callable[..., Path]


def test_the_kernels_take_matrices_in_the_order_of_the_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    check_order()
    for name, other in (("PROJ", 3), ("PATCH", 1), ("PER_BLOCK", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(state, name, other)
            with pytest.raises(AssertionError, match="another order of matrices"):
                check_order()
    monkeypatch.setattr(weights, "BLOCK_NORMS", roles.BLOCK_NORMS[::-1])
    with pytest.raises(AssertionError, match="another order of matrices"):
        check_order()


def stored_tile(tables: KernelWeights, record: Any, out: int, inner: int) -> Any:
    """The bytes of a tile, from the address that the kernels read."""
    address = int(tables.table[record["first_tile"] + out * record["tile_stride"] + inner])
    base = tables._file.data.__array_interface__["data"][0]
    return tables._file.data[address - base : address - base + int(record["tile_bytes"])]


@pytest.mark.parametrize("head_dim", [16, 64])
def test_every_tile_of_a_network_is_found(make_weights: Make, head_dim: int) -> None:
    """Float32: a tile [inputs][outputs] is a piece of the matrix, which the reader puts together by another way."""
    arch = replace(SMALL, head_dim=head_dim, heads=(3, 5))
    file = WeightFile(make_weights(arch))
    tables = KernelWeights(file)
    for k in (3, 5):
        tables.prepare(k)
        dense = file.state(k)
        for name, matrix in (("attn.proj", state.PROJ), ("mlp.fc1", state.FC1), ("mlp.fc2", state.FC2)):
            for block in range(arch.depth):
                record = tables.matrices[block * state.PER_BLOCK + matrix]
                w = dense[f"blocks.{block}.{name}.weight"]
                assert record["input_tiles"] * head_dim == w.shape[1]
                for out in range(w.shape[0] // head_dim):
                    for inner in range(w.shape[1] // head_dim):
                        tile = stored_tile(tables, record, out, inner).view(np.float32).reshape(head_dim, head_dim)
                        rows, columns = (slice(i * head_dim, (i + 1) * head_dim) for i in (out, inner))
                        np.testing.assert_array_equal(tile, w[rows, columns].T)


def test_queries_keys_and_values_of_a_head_lie_side_by_side(make_weights: Make) -> None:
    file = WeightFile(make_weights())
    tables = KernelWeights(file)
    tables.prepare(4)
    head_dim, p = SMALL.head_dim, 4 * SMALL.head_dim
    w = file.state(4)["blocks.1.attn.qkv.weight"].reshape(3, 4, head_dim, p)  # [q k v][head]
    record = tables.matrices[state.PER_BLOCK + state.QKV]
    for head in range(4):
        for part in range(3):
            tile = stored_tile(tables, record, 3 * head + part, 2).view(np.float32).reshape(head_dim, head_dim)
            np.testing.assert_array_equal(tile, w[part, head, :, 2 * head_dim : 3 * head_dim].T)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_what_becomes_of_each_product(make_weights: Make, precision: str) -> None:
    arch = Architecture(image_size=32, patch=8, depth=2, head_dim=64, heads=(1, 2), classes=10, layer_scale=True)
    tables = KernelWeights(WeightFile(make_weights(arch, precision)))
    code = {"fp32": gemm.FP32, "bf16": gemm.BF16, "int8": gemm.INT8}[precision]
    for block in range(arch.depth):
        of = tables.matrices[block * state.PER_BLOCK :]
        qkv, proj, fc1, fc2 = (of[role] for role in (state.QKV, state.PROJ, state.FC1, state.FC2))
        assert [record["mode"] for record in (qkv, proj, fc1, fc2)] == [
            STORE_BF16 if tables.bfloat16 else STORE,
            ADD,
            STORE,
            ADD,
        ]
        assert [record["gelu"] for record in (qkv, proj, fc1, fc2)] == [0, 0, 1, 0]
        assert [record["gamma"] != 0 for record in (qkv, proj, fc1, fc2)] == [False, True, False, True]
        assert all(record["precision"] == code for record in (qkv, proj, fc1, fc2))
        assert all(bool(record["scales"]) == (precision == "int8") for record in (qkv, proj, fc1, fc2))
        assert all(1 << int(record["tile_bytes_log2"]) == record["tile_bytes"] for record in (qkv, proj, fc1, fc2))
    patch = tables.matrices[state.PATCH]
    assert patch["precision"] == (gemm.BF16 if precision == "int8" else code)


def test_each_k_has_its_classifier(tmp_path: Path) -> None:
    arch = replace(SMALL, separate_classifiers=True, heads=(3, 5, 6))
    tables = KernelWeights(WeightFile(make_file(tmp_path / "separate.safetensors", arch)))
    first = 1 + state.PER_BLOCK * arch.depth
    assert [tables.classifier(k) for k in arch.heads] == [first, first + 1, first + 2]
    shared = KernelWeights(WeightFile(make_file(tmp_path / "shared.safetensors", SMALL)))
    assert {shared.classifier(k) for k in SMALL.heads} == {first}
