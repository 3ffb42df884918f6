"""format/writer.py: files that are whole, or not there; what a state may be; copies of a prefix."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.errors import WeightFileError
from hydrart.format.architecture import Architecture
from hydrart.format.metadata import Metadata
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile, header_bytes
from hydrart.format.roles import parameters_of
from hydrart.format.writer import copy_prefix, sha256, write
from hydrart.resources import bundled
from tests.support.architectures import architectures, precisions
from tests.support.networks import SMALL, make_file, random_state

Make = Callable[..., Path]


@pytest.mark.parametrize("problem", ["shape", "patch", "nan", "missing"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(problem: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"old")
    state = random_state(SMALL)
    if problem == "shape":
        state["norm.bias"] = state["norm.bias"][:-1]
    elif problem == "patch":
        name = "patch_embed.proj.weight"
        state[name] = state[name].reshape(192, 3, 4, 16)  # as many numbers, in another shape
    elif problem == "nan":
        state["head.bias"][3] = np.nan
    else:
        del state["head.bias"]
    with pytest.raises(WeightFileError, match=r"norm\.bias|head\.bias|patch_embed"):
        write(path, WeightFile(weights).meta, state)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]
    assert path.read_bytes() == b"old"


@architectures
@precisions
def test_a_file_cut_after_k_answers_as_the_whole_one(arch: Architecture, precision: str, tmp_path: Path) -> None:
    whole = make_file(tmp_path / "whole.safetensors", arch, precision)
    cut_k = 6
    source = WeightFile(whole)
    copy_prefix(source, tmp_path / "cut.safetensors", source.meta.cut(cut_k))
    cut = WeightFile(tmp_path / "cut.safetensors")
    cut.verify()
    assert cut.heads == tuple(k for k in arch.heads if k <= cut_k)
    assert bytes(cut.data) == bytes(source.data[: source.end(cut_k)])
    for k in cut.heads:
        for name, values in cut.state(k).items():
            np.testing.assert_array_equal(values, source.state(k)[name], err_msg=name)
    if arch.looks:
        return  # the engines' tests compare the answers of looks
    x = np.random.default_rng(1).standard_normal((2, 3, arch.image_size, arch.image_size), np.float32)
    a, b = hydrart.load(whole), hydrart.load(tmp_path / "cut.safetensors")
    for k in cut.heads:
        np.testing.assert_array_equal(a.logits(x, k), b.logits(x, k))
    with pytest.raises(hydrart.HeadsError, match="k=12 was not trained: choose from"):
        b.logits(x, 12)


def test_version_1_stays_as_it_is(tmp_path: Path) -> None:
    """A file with the bytes that the first hydrart wrote. Each number of a tensor is its place, up to 9."""
    arch = Architecture(image_size=8, patch=4, depth=1, head_dim=16, heads=(1, 2), classes=5, layer_scale=True)
    state = {}
    for name, parameter in parameters_of(arch).items():
        shape = parameter.shape(2)
        state[name] = (np.arange(np.prod(shape), dtype=np.float32) % 10).reshape(shape)
    path = tmp_path / "x.safetensors"
    write(path, Metadata(arch, "int8", Preprocessing(8), source="made up"), state)
    assert sha256(path) == "5aa3f66a768b7d818fc60e58382bce007d82efc8ec4f3c8f66171ec75891a2c4"


def test_the_files_that_ship_would_be_written_with_the_same_header() -> None:
    for path in bundled("weights", ".safetensors").values():
        file = WeightFile(path)
        assert header_bytes(file.meta, file.layout.tensors) == path.read_bytes()[: file.start]


class Lazy(Mapping[str, Any]):
    """Tensors that are made on access, and counted."""

    def __init__(self) -> None:
        self._state = random_state(SMALL)
        self.fetched: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)

    def __getitem__(self, name: str) -> Any:
        self.fetched.append(name)
        return self._state[name].astype(np.float64)


def test_each_tensor_is_made_once(weights: Path, tmp_path: Path) -> None:
    state = Lazy()
    write(tmp_path / "x.safetensors", WeightFile(weights).meta, state)
    assert sorted(state.fetched) == sorted(state)
    assert (tmp_path / "x.safetensors").read_bytes() == weights.read_bytes(), "make_file() writes the same numbers"


def test_the_digests_are_those_of_the_shells(make_weights: Make) -> None:
    file = WeightFile(make_weights())
    begin = 0
    for k in file.heads:
        assert file.meta.digests[k] == hashlib.sha256(bytes(file.data[begin : file.end(k)])).hexdigest()
        begin = file.end(k)
    assert sha256(file.path) == hashlib.sha256(file.path.read_bytes()).hexdigest()


def test_places_where_nothing_can_be_written(weights: Path, tmp_path: Path) -> None:
    file = WeightFile(weights)
    with pytest.raises(WeightFileError, match="is a folder or a device: give the name of a file to write"):
        copy_prefix(file, tmp_path, file.meta)
    with pytest.raises(WeightFileError, match="cannot be written: No such file or directory"):
        copy_prefix(file, tmp_path / "missing" / "x.safetensors", file.meta)
    assert not list(tmp_path.iterdir())
