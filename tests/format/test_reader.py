"""The weight file: prefix order, cutting, exact contents, what other programs see."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from hydrart.errors import WeightFileError
from hydrart.format.architecture import Architecture
from hydrart.format.layout import PAGE, tensor_name
from hydrart.format.reader import WeightFile
from tests.support.architectures import architectures, precisions
from tests.support.networks import SMALL, make_file, random_state

Make = Callable[..., Path]


@architectures
def test_fp32_gives_back_every_number(arch: Architecture, tmp_path: Path) -> None:
    state = random_state(arch)
    file = WeightFile(make_file(tmp_path / "x.safetensors", arch))
    file.verify()
    decoded = dict(file.state(arch.heads[-1]))
    assert set(decoded) == set(state)
    for name, values in state.items():
        np.testing.assert_array_equal(decoded[name], values, err_msg=name)


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 2**-8), ("int8", 1 / 254)])
def test_other_precisions_round_to_nearest(precision: str, bound: float, make_weights: Make) -> None:
    state = random_state(SMALL)
    decoded = dict(WeightFile(make_weights(precision=precision)).state(12))
    for name, values in state.items():
        if values.ndim < 2 or name in ("cls_token", "pos_embed"):
            np.testing.assert_array_equal(decoded[name], values, err_msg=name)
            continue
        flat, got = values.reshape(len(values), -1), decoded[name].reshape(len(values), -1)
        # int8: half a step of the row's scale; its ends are bf16, whose half step is relative
        inner = precision == "int8" and name.startswith("blocks")
        allowed = np.abs(flat).max(axis=1, keepdims=True) * bound if inner else np.abs(flat) * 2**-8
        assert (np.abs(flat - got) <= allowed * 1.0001 + 1e-12).all(), name
        assert (flat != got).any(), f"{name} was not rounded at all"


def test_a_lane_holds_consecutive_inputs_of_one_output(make_weights: Make) -> None:
    state = random_state(SMALL)
    for precision, per in (("fp32", 1), ("bf16", 2), ("int8", 4)):
        file = WeightFile(make_weights(precision=precision))
        tiles = file.part(4, "blocks.0.mlp.fc1.weight")
        assert tiles.shape == (3 * 4 + 4 * 4, 16 // per, 16, per)
        # shell 4, first tile: output block 0, input block 3
        dense = state["blocks.0.mlp.fc1.weight"][:16, 48:64]
        lanes = dense.reshape(16, 16 // per, per).transpose(1, 0, 2)
        stored = tiles[0].astype(np.float32)
        if precision == "bf16":
            stored = (tiles[0].astype(np.uint32) << 16).view(np.float32)
        if precision == "int8":
            stored *= file.part(3, "blocks.0.mlp.fc1.scale")[0, 0][None, :, None]
        np.testing.assert_allclose(stored, lanes, atol=0.01 * np.abs(dense).max() + 1e-9)


@precisions
def test_the_ordinary_library_opens_it(precision: str, make_weights: Make) -> None:
    path = make_weights(precision=precision)
    file = WeightFile(path)
    with safetensors.safe_open(path, "numpy") as opened:
        assert set(opened.keys()) == set(file.layout.tensors)
        assert json.loads(opened.metadata()["hydrart"])["version"] == 1
        name = tensor_name(5, "blocks.1.norm1.weight")
        np.testing.assert_array_equal(opened.get_tensor(name), file.part(5, "blocks.1.norm1.weight"))
    if precision == "fp32":
        tensors = safetensors.numpy.load_file(path)
        matrix = tensor_name(7, "blocks.0.attn.qkv.weight")
        np.testing.assert_array_equal(tensors[matrix], file.part(7, "blocks.0.attn.qkv.weight"))


def test_the_data_starts_on_a_page_and_is_mapped(weights: Path) -> None:
    file = WeightFile(weights)
    assert file.start % PAGE == 0
    assert not file.data.flags.owndata and not file.data.flags.writeable


def test_a_flipped_bit_is_found_by_verify(weights: Path, tmp_path: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-PAGE * 3] ^= 1
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightFileError, match="differ from its checksum"):
        WeightFile(path).verify()
