"""convert/origin.py, mostly through the command: weight files as the source, and the preprocessing of checkpoints."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hydrart.convert.origin import Decoded, FromCheckpoint, FromWeightFile, Wishes, open_origin
from hydrart.format.metadata import Accuracy
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from tests.support.converting import (
    CLASSES,
    HEAD_DIM,
    KS,
    NAME,
    PATCH,
    SIZE,
    answers,
    assert_same,
    converted,
    failure,
    nested,
    torch,
)
from tests.support.networks import SMALL, make_file
from tests.support.torch_vit import random_state, separate_classifiers


def test_what_is_opened_as_what(tmp_path: Path) -> None:
    made = make_file(tmp_path / "w.safetensors")
    assert isinstance(open_origin(made, Wishes()), FromWeightFile)
    torch.save({"arch": NAME, "state_dict": nested()}, tmp_path / "a.pth")
    origin = open_origin(tmp_path / "a.pth", Wishes(licence="MIT", precision="bf16"))
    assert isinstance(origin, FromCheckpoint) and origin.heads == 12
    assert (origin.meta.licence, origin.meta.precision, origin.meta.source) == ("MIT", "bf16", "a.pth")
    assert all(tensor.dtype == np.float32 for tensor in origin.tensors().values())


@pytest.mark.parametrize("heads", [(3,), (3, 7), SMALL.heads])
def test_a_weight_file_is_decoded_up_to_the_largest_k(tmp_path: Path, heads: tuple[int, ...]) -> None:
    made = make_file(tmp_path / "w.safetensors")
    decoded, expected = Decoded(made, heads), WeightFile(made).state(heads[-1])
    assert set(decoded) == set(expected) and len(decoded) == len(expected)
    for name, values in decoded.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def test_weight_file_is_written_again(tmp_path: Path) -> None:
    state = nested(layer_scale=True)
    torch.save({"arch": NAME, "state_dict": state}, tmp_path / "a.pth")
    (tmp_path / "labels").write_text("\n".join("abcdefg"))
    made = converted(tmp_path / "a.pth", "--labels", tmp_path / "labels", "--licence", "MIT")
    first = tmp_path / "first.safetensors"
    accuracy = Accuracy("test", 10, {k: k / 20 for k in KS}, {k: k / 15 for k in KS})
    copy_prefix(made, first, replace(made.meta, accuracy=accuracy))

    for precision, within in (("bf16", 0.05), ("int8", 0.1)):
        file = converted(first, "--precision", precision)
        assert_same(file, state, within=within)
        assert file.meta.accuracy is None
        assert (file.meta.labels, file.meta.licence) == (tuple("abcdefg"), "MIT")
        assert (file.meta.source, file.meta.source_sha256) == ("a.pth", made.meta.source_sha256)
        assert file.meta.preprocessing == made.meta.preprocessing
    file = converted(first, "--heads", "3-5", "--licence", "GPL")
    assert_same(file, state, (3, 4, 5))
    assert file.meta.accuracy == accuracy.up_to(5)
    assert file.meta.licence == "GPL"
    file = converted(first, "--heads", "3,6,12")
    assert_same(file, state, (3, 6, 12))
    assert file.meta.accuracy is not None
    assert set(file.meta.accuracy.top1) == {3, 6, 12}
    assert "no network of 2 heads" in failure(first, None, "--heads", "2-4")
    assert "--family" in failure(first, None, "--family", "vit")

    int8 = tmp_path / "int8.safetensors"
    converted(first, "--precision", "int8").path.rename(int8)
    assert np.array_equal(answers(converted(int8, "--heads", "3-6"), 6), answers(WeightFile(int8), 6))
    assert "cannot be won back" in failure(int8, None, "--precision", "bf16")
    assert "cannot be won back" in failure(int8, None, "--precision", "fp32")
    assert "only the last heads" in failure(int8, None, "--heads", "3,6")
    damaged = bytearray(int8.read_bytes())
    damaged[-5000] ^= 1
    int8.write_bytes(damaged)
    assert "damaged" in failure(int8, None)


def test_weight_file_with_separate_classifiers_is_written_again(tmp_path: Path) -> None:
    state = separate_classifiers(nested(), 3, (3, 6, 12), HEAD_DIM)
    torch.save({"arch": NAME, "state_dict": state}, tmp_path / "a.pth")
    first = converted(tmp_path / "a.pth").path.rename(tmp_path / "first.safetensors")
    assert_same(converted(first, "--precision", "bf16"), state, (3, 6, 12), within=0.05)
    assert_same(converted(first, "--heads", "3,12"), state, (3, 12))


@pytest.mark.parametrize(("size", "crop"), [(16, 0.9), (384, 1.0)])
def test_preprocessing_of_larger_pictures(tmp_path: Path, size: int, crop: float) -> None:
    torch.save(random_state(1, 192, 1, size // 4, size, CLASSES), tmp_path / "deit.pth")
    spec = converted(tmp_path / "deit.pth").meta.preprocessing
    assert (spec.size, spec.crop, spec.interpolation) == (size, crop, "bicubic")


def test_preprocessing_that_the_training_was_told(tmp_path: Path) -> None:
    options = argparse.Namespace(model="vit_tiny", mean=[0.1, 0.2, 0.3], std=[1, 1, 1], crop_pct=0.8)
    options.interpolation = "bilinear"
    state = random_state(1, 192, 1, PATCH, SIZE, CLASSES)
    torch.save({"state_dict": state, "args": options}, tmp_path / "a.pth")
    spec = converted(tmp_path / "a.pth").meta.preprocessing
    assert (spec.mean, spec.std, spec.crop, spec.interpolation) == ((0.1, 0.2, 0.3), (1, 1, 1), 0.8, "bilinear")
    options.mean, options.std, options.crop_pct = [0.1, float("nan"), 0], [0, 1, 1], "1"
    torch.save({"state_dict": state, "args": options}, tmp_path / "a.pth")
    spec = converted(tmp_path / "a.pth").meta.preprocessing
    assert (spec.mean, spec.std, spec.crop) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 0.9)
