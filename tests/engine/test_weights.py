"""engine/weights.py: every address in the kernels' tables is followed, and what lies there is compared."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.codegen.records import ADD, STORE, STORE_BF16
from hydrart.engine import weights as engine_weights
from hydrart.engine.kernels import gemm, state
from hydrart.engine.kernels.intrinsics import ISA
from hydrart.engine.weights import KernelWeights, check_order
from hydrart.errors import WeightFileError
from hydrart.format import roles
from hydrart.format.architecture import Architecture
from hydrart.format.layout import tensor_name
from hydrart.format.precision import FP32, INT8, PRECISIONS
from hydrart.format.reader import WeightFile
from hydrart.format.roles import matrix_index, parameters_of
from tests.support.architectures import precisions
from tests.support.networks import SMALL, random_state

Make = Callable[..., Path]

NETWORKS = {
    "heads of 16": replace(SMALL, heads=(2, 3, 5)),
    "heads of 64": replace(SMALL, head_dim=64, heads=(1, 3), depth=1, classes=70),
    "layer scale": replace(SMALL, layer_scale=True, heads=(2, 4)),
    "separate classifiers": replace(SMALL, separate_classifiers=True, heads=(2, 4)),
}
networks = pytest.mark.parametrize("arch", NETWORKS.values(), ids=NETWORKS)


def read(address: int, count: int, kind: str = "<f4") -> NDArray[Any]:
    """What lies at an address."""
    assert address, "no address"
    kind_of = np.dtype(kind)
    return np.frombuffer(ctypes.string_at(int(address), count * kind_of.itemsize), kind_of)


def matrices(arch: Architecture) -> list[tuple[str, int, int]]:
    """Name, and blocks of outputs and of inputs per head (0: the same for every k), in the kernels' order."""
    found = [("patch_embed.proj.weight", 1, 0)]
    for i in range(arch.depth):
        for name, out, inner in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            found.append((f"blocks.{i}.{name}.weight", out, inner))
    heads = [f"heads.{k}" for k in arch.heads] if arch.separate_classifiers else ["head"]
    return found + [(f"{name}.weight", 0, 1) for name in heads]


def by_head(values: NDArray[Any], name: str, arch: Architecture) -> NDArray[Any]:
    """timm's rows of q, then k, then v as the file has them: q, k and v of head 0, then of head 1."""
    if "qkv" not in name:
        return values
    k = arch.heads[-1]
    order = [part * k + head for head in range(k) for part in range(3)]
    return values.reshape(3 * k, arch.head_dim, -1)[order].reshape(values.shape)


@networks
@precisions
def test_every_tile_is_where_the_table_says_and_none_of_a_larger_k_is(
    make_weights: Make, arch: Architecture, precision: str
) -> None:
    file, d = WeightFile(make_weights(arch, precision)), arch.head_dim
    weights = KernelWeights(file)
    dense = dict(file.state(arch.heads[-1]))
    start = file.data.ctypes.data
    for k in arch.heads:
        weights.prepare(k)
        for record, (name, out_per_head, in_per_head) in zip(weights.matrices, matrices(arch), strict=True):
            own = int(name.split(".")[1]) if name.startswith("heads.") else arch.heads[-1]
            stored = PRECISIONS[precision] if "blocks" in name else PRECISIONS[precision].outer
            rows = by_head(dense[name].reshape(len(dense[name]), -1), name, arch)
            outputs = out_per_head * own or -(-arch.classes // d)
            inputs = in_per_head * own or -(-arch.patch_inputs // d)
            padded = np.zeros((outputs * d, inputs * d), np.float32)
            padded[: rows.shape[0], : rows.shape[1]] = rows
            assert record["tile_stride"] == inputs and record["input_tiles"] == (in_per_head * k or inputs)
            assert record["output_tiles"] == (out_per_head * k or outputs)
            assert record["tile_bytes"] == d * d * stored.bytes == 1 << int(record["tile_bytes_log2"])
            assert record["lane_rows"] == d // stored.per
            for out in range(outputs):
                for inner in range(inputs):
                    address = int(weights.table[record["first_tile"] + out * inputs + inner])
                    there = (
                        out < (out_per_head * k or outputs)
                        and inner < (in_per_head * k or inputs)
                        and not (name.startswith("heads.") and own > k)
                    )
                    if not there:
                        assert address == 0, f"{name}: a tile of a larger k"
                        continue
                    assert start <= address and address + record["tile_bytes"] <= start + file.end(k)
                    lanes = read(address, d * d, stored.stored.str).reshape(d // stored.per, d, stored.per)
                    tile = stored.decode(lanes.transpose(1, 0, 2).reshape(d, d))
                    if stored.scaled:
                        tile = tile * read(record["scales"] + out * d * 4, d)[:, None]
                    expected = padded[out * d : out * d + d, inner * d : inner * d + d]
                    np.testing.assert_array_equal(tile, expected, err_msg=f"{name} k={k} {out} {inner}")


@networks
@precisions
def test_what_follows_each_product(make_weights: Make, arch: Architecture, precision: str) -> None:
    file = WeightFile(make_weights(arch, precision))
    weights, dense = KernelWeights(file), dict(file.state(arch.heads[-1]))
    weights.prepare(arch.heads[-1])
    assert weights.bfloat16 == (ISA.rounds_bf16 and precision != FP32.name and arch.head_dim // 2 >= gemm.LANES)
    codes = {"fp32": gemm.FP32, "bf16": gemm.BF16, "int8": gemm.INT8}
    columns = 0
    for record, (name, _, _) in zip(weights.matrices, matrices(arch), strict=True):
        inside = name.startswith("blocks")
        modes = {"proj": ADD, "fc2": ADD, "qkv": STORE_BF16 if weights.bfloat16 else STORE}
        role = name.split(".")[-2]
        assert record["mode"] == (modes.get(role, STORE) if inside else STORE), name
        assert record["gelu"] == (role == "fc1"), name
        assert record["precision"] == codes[precision if inside or precision != "int8" else "bf16"], name
        bias = by_head(dense[name.replace("weight", "bias")], name, arch)
        np.testing.assert_array_equal(read(record["bias"], len(bias)), bias, err_msg=name)
        branch = {"proj": "ls1", "fc2": "ls2"}.get(role) if inside and arch.layer_scale else None
        if branch:
            gamma = dense[f"{name[: name.index('.', 7)]}.{branch}.gamma"]
            np.testing.assert_array_equal(read(record["gamma"], len(gamma)), gamma, err_msg=name)
        else:
            assert record["gamma"] == 0, name
        if inside and precision == INT8.name:
            assert record["first_sum"] == columns
            columns += len(bias)
        else:
            assert record["scales"] == record["first_sum"] == 0


@networks
def test_norms_positions_and_the_class_token(make_weights: Make, arch: Architecture) -> None:
    file, d = WeightFile(make_weights(arch)), arch.head_dim
    weights, dense = KernelWeights(file), random_state(arch)
    norms = [f"blocks.{i}.{norm}" for i in range(arch.depth) for norm in ("norm1", "norm2")] + ["norm"]
    assert weights.norms.shape == (len(norms), 2, arch.width(arch.heads[-1]))
    for k in arch.heads:
        weights.prepare(k)
        p = k * d
        for name, (weight, bias) in zip(norms, weights.norms, strict=True):
            np.testing.assert_array_equal(weight[:p], dense[f"{name}.weight"][:p])
            np.testing.assert_array_equal(bias[:p], dense[f"{name}.bias"][:p])
            assert not weight[p:].any() and not bias[p:].any(), "numbers of a larger k"
        np.testing.assert_array_equal(read(weights.cls_token(), p), dense["cls_token"].reshape(-1)[:p])
        table = weights.table[weights.positions : weights.positions + arch.heads[-1]]
        assert not table[k:].any(), "positions of a larger k"
        for head, address in enumerate(table[:k]):
            positions = read(address, arch.tokens(k) * d).reshape(arch.tokens(k), d)
            np.testing.assert_array_equal(positions, dense["pos_embed"][0, :, head * d : head * d + d])


@networks
def test_each_k_has_its_classifier(make_weights: Make, arch: Architecture) -> None:
    weights = KernelWeights(WeightFile(make_weights(arch)))
    names = [name for name, _, _ in matrices(arch)]
    for k in arch.heads:
        expected = f"heads.{k}.weight" if arch.separate_classifiers else "head.weight"
        assert names[weights.classifier(k)] == expected


def damaged(path: Path, shell: int, name: str, number: float) -> WeightFile:
    """The file with one float32 of one tensor replaced."""
    file = WeightFile(path)
    raw = bytearray(path.read_bytes())
    at = file.start + file.layout.tensors[tensor_name(shell, name)].begin
    raw[at : at + 4] = np.float32(number).tobytes()
    path.write_bytes(raw)
    return WeightFile(path)


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("blocks.1.norm2.bias", np.nan, "not finite"),
        ("pos_embed", np.inf, "not finite"),
        ("blocks.0.mlp.fc2.scale", np.nan, "not finite"),
        ("blocks.0.mlp.fc2.scale", 0, "not positive"),
    ],
)
def test_a_damaged_shell_is_found_when_its_k_is_asked_for_and_not_before(
    make_weights: Make, tmp_path: Path, name: str, number: float, words: str
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(make_weights(NETWORKS["heads of 16"], "int8").read_bytes())
    weights = KernelWeights(damaged(path, 5, name, number))
    weights.prepare(2)
    weights.prepare(3)
    with pytest.raises(WeightFileError, match=words) as raised:
        weights.prepare(5)
    assert name in str(raised.value) and str(path) in str(raised.value)


def test_no_shell_beyond_k_is_read(make_weights: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    file = WeightFile(make_weights(NETWORKS["heads of 16"], "int8"))
    read_shells: list[int] = []
    part = file.part

    def watched(shell: int, name: str) -> NDArray[Any]:
        read_shells.append(shell)
        return part(shell, name)

    monkeypatch.setattr(file, "part", watched)
    weights = KernelWeights(file)
    assert not read_shells
    for k, shells in ((3, {2, 3}), (2, set()), (5, {5}), (3, set())):
        read_shells.clear()
        weights.prepare(k)
        assert set(read_shells) == shells


def test_a_smaller_k_after_a_larger_one_uses_fewer_inputs_of_the_same_tiles(make_weights: Make) -> None:
    arch = NETWORKS["heads of 16"]
    weights = KernelWeights(WeightFile(make_weights(arch)))
    weights.prepare(5)
    table, records = weights.table.copy(), weights.matrices.copy()
    weights.prepare(2)
    np.testing.assert_array_equal(weights.table, table)
    fc2 = matrix_index_of("blocks.0.mlp.fc2.weight", arch)
    assert records[fc2]["input_tiles"] == 20 and weights.matrices[fc2]["input_tiles"] == 8
    assert records[fc2]["output_tiles"] == 5 and weights.matrices[fc2]["output_tiles"] == 2
    for name in ("input_tiles", "output_tiles"):
        records[name] = weights.matrices[name]
    np.testing.assert_array_equal(weights.matrices, records)


def matrix_index_of(name: str, arch: Architecture) -> int:
    return [other for other, _, _ in matrices(arch)].index(name)


def test_column_sums_are_asked_for_once_per_k(make_weights: Make) -> None:
    arch = NETWORKS["heads of 16"]
    weights = KernelWeights(WeightFile(make_weights(arch, "int8")))
    address, new = weights.sums(2)
    if not gemm.INTEGER:
        assert (address, new) == (0, False)
        return
    assert new and weights.sums(2) == (address, False)
    other, new = weights.sums(3)
    assert new and other != address
    columns = arch.depth * (3 + 1 + 4 + 1) * arch.width(5)  # outputs of qkv, proj, fc1 and fc2
    assert not read(address, columns).any()
    assert KernelWeights(WeightFile(make_weights(arch, "bf16"))).sums(2) == (0, False)


def test_the_kernels_order_is_that_of_the_roles() -> None:
    names = [name for name, _, _ in matrices(SMALL)]
    parameters = parameters_of(SMALL)
    places = {"qkv": state.QKV, "proj": state.PROJ, "fc1": state.FC1, "fc2": state.FC2}
    assert names[state.PATCH] == "patch_embed.proj.weight"
    for role, place in places.items():
        for block in range(SMALL.depth):
            name = names[block * state.PER_BLOCK + place]
            assert name.split(".")[1:4:2] == [str(block), role]
            assert matrix_index(parameters[name].role, block) == block * state.PER_BLOCK + place


def test_the_kernels_take_matrices_in_the_order_of_the_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    check_order()
    for name, other in (("PROJ", 3), ("PATCH", 1), ("PER_BLOCK", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(state, name, other)
            with pytest.raises(AssertionError, match="another order of matrices"):
                check_order()
    monkeypatch.setattr(engine_weights, "BLOCK_NORMS", roles.BLOCK_NORMS[::-1])
    with pytest.raises(AssertionError, match="another order of matrices"):
        check_order()
