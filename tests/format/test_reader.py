"""The weight file: prefix order, cutting, exact contents, what other programs see."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from hydrart.errors import UnfinishedWeightFileError, WeightFileError
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


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_file_that_is_read_is_the_file_that_is_mapped(precision: str, make_weights: Make) -> None:
    path = make_weights(precision=precision)
    mapped, read = WeightFile(path), WeightFile(path, mapped=False)
    np.testing.assert_array_equal(read.data, mapped.data)
    assert not read.data.flags.writeable and not mapped.data.flags.writeable
    assert read.data.ctypes.data % 4096 == mapped.data.ctypes.data % 4096 == 0
    os.truncate(path, 100)
    read.verify()
    read.check_unchanged()


def test_a_file_that_is_being_copied_may_be_tried_again(weights: Path, tmp_path: Path) -> None:
    """Every length that cp passes through, in steps."""
    raw, path = weights.read_bytes(), tmp_path / "x.safetensors"
    start = WeightFile(weights).start
    for size in (0, 1, 8, 9, start // 2, start, start + 1, len(raw) // 2, len(raw) - 1):
        path.write_bytes(raw[:size])
        with pytest.raises(UnfinishedWeightFileError, match="it is being written"):
            WeightFile(path)
    path.write_bytes(bytes(len(raw)))  # some programs reserve the room first
    with pytest.raises(UnfinishedWeightFileError, match="it is being written"):
        WeightFile(path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(WeightFileError, match="copy or convert it again") as error:
        WeightFile(path)
    assert not isinstance(error.value, UnfinishedWeightFileError)


def test_a_file_that_is_written_to_while_it_is_mapped(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(weights.read_bytes())
    file = WeightFile(path)
    os.utime(path)
    file.check_unchanged()  # it was touched
    with open(path, "r+b") as target:
        target.seek(file.start + 1000)
        target.write(b"other bytes")
    with pytest.raises(UnfinishedWeightFileError, match="was written to while it is in use: replace it with mv"):
        file.check_unchanged()
    file = WeightFile(path)
    os.truncate(path, 5000)
    with pytest.raises(UnfinishedWeightFileError, match="was written to while it is in use"):
        file.check_unchanged()


def test_a_file_may_be_replaced_or_removed_while_it_is_mapped(weights: Path, tmp_path: Path) -> None:
    path, other = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    path.write_bytes(weights.read_bytes())
    other.write_bytes(b"another network")
    file = WeightFile(path)
    os.replace(other, path)
    file.check_unchanged()
    path.unlink()
    file.check_unchanged()
    file.verify()


@pytest.mark.parametrize("name", ["shell03.blocks.0.attn.qkv.weight", "shell07.norm.bias", "shell03.pos_embed"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_numbers_that_are_not_finite_are_found_where_they_are_needed(
    precision: str, name: str, make_weights: Make, tmp_path: Path
) -> None:
    raw = bytearray(make_weights(precision=precision).read_bytes())
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    entry = WeightFile(path).layout.tensors[name]
    at = WeightFile(path).start + entry.begin
    bits = b"\x80\x7f" if entry.dtype == "BF16" else b"\xff\xff\xff\x7f"  # infinity; a NaN of a rare payload
    raw[at : at + len(bits)] = bits
    path.write_bytes(raw)
    file = WeightFile(path)
    file.check(3 if "07" in name else 0)  # the shells below are whole
    for read in (lambda: file.check(12), lambda: file.state(12)):
        with pytest.raises(WeightFileError, match=rf"{name[8:]} holds numbers that are not finite, or "):
            read()


def test_checkpoints_name_the_command(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    for head in (b"PK\x03\x04", b"\x80\x02"):
        path.write_bytes(head + bytes(1000))
        with pytest.raises(WeightFileError, match=f"convert it with: hydrart convert {path} -o OUT.safetensors"):
            WeightFile(path)
