"""The Python API of networks that look at a picture several times."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.errors import HeadsError, SettingError
from hydrart.format.architecture import Architecture, Look
from hydrart.format.reader import WeightFile
from hydrart.format.writer import copy_prefix
from tests.support.networks import GRID_LOOKS, TOKEN_LOOKS

Make = Callable[..., Path]
PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)


def test_a_network_whose_every_k_answers_alone_has_one_look(model: hydrart.Model) -> None:
    assert model.looks == (Look(12, 32),)
    x = model.preprocess(PICTURE)
    np.testing.assert_array_equal(model.logits(x, look=0), model.logits(x))
    with pytest.raises(HeadsError, match="there is no look=1: choose from 0 to 0"):
        model.logits(x, look=1)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("arch", [TOKEN_LOOKS, GRID_LOOKS], ids=["tokens", "grid"])
def test_the_last_look_answers(arch: Architecture, backend: str, make_weights: Make) -> None:
    model = hydrart.load(make_weights(arch), backend=backend, threads=1)
    assert model.looks == arch.looks
    x = model.preprocess(PICTURE)
    assert x.shape == (1, 3, arch.image_size, arch.image_size)
    found = [model.logits(x, look=look) for look in range(len(arch.looks))]
    np.testing.assert_array_equal(model.logits(x), found[-1])
    assert np.abs(found[0] - found[-1]).max() > 1e-2
    answer, (in_a_list,) = model(PICTURE), model([PICTURE])
    assert answer.k == in_a_list.k == arch.heads[-1]
    assert answer.label == model.labels[int(found[-1].argmax())] == in_a_list.label
    assert (answer.look, in_a_list.look) == (len(arch.looks) - 1,) * 2
    late = model(PICTURE, deadline_ms=0.001)
    assert late.k == arch.heads[0] and late.abandoned == arch.heads[1:]
    assert late.label == model.labels[int(found[0].argmax())]
    many = np.concatenate([model.preprocess(np.roll(PICTURE, 5 * i, 0)) for i in range(9)])
    np.testing.assert_allclose(model.logits(many)[8:], model.logits(many[8:]), atol=1e-5)
    model.warm_up()


def test_k_cannot_be_chosen(make_weights: Make) -> None:
    model = hydrart.load(make_weights(GRID_LOOKS), backend="reference", threads=1)
    x = model.preprocess(PICTURE)
    for call in (lambda: model.logits(x, 3), lambda: model(PICTURE, k=6), lambda: model.answer(x, 6)):
        with pytest.raises(HeadsError, match=r"k=\d cannot be chosen from .* take logits\(\) of look 0 to 1"):
            call()
    for look in (2, -1, 0.0, True, "first"):
        with pytest.raises(HeadsError, match=r"there is no look=.*: choose from 0 to 1, as an int"):
            model.logits(x, look=look)  # type: ignore[arg-type]
    with pytest.raises(HeadsError, match="has no features"):
        model.features(x)


@pytest.mark.parametrize("arch", [TOKEN_LOOKS, GRID_LOOKS], ids=["tokens", "grid"])
def test_a_slice_keeps_the_first_looks(arch: Architecture, make_weights: Make, tmp_path: Path) -> None:
    whole = make_weights(arch, "int8")
    source = WeightFile(whole)
    for count in range(1, len(arch.looks) + 1):
        k = arch.heads[count - 1]
        cut = tmp_path / f"{count}.safetensors"
        copy_prefix(source, cut, source.meta.cut(k))
        first, all_looks = (hydrart.load(path, backend="reference", threads=1) for path in (cut, whole))
        assert first.looks == arch.looks[:count] and cut.stat().st_size < whole.stat().st_size + (k == arch.heads[-1])
        x = first.preprocess(PICTURE)
        np.testing.assert_array_equal(first.logits(x), all_looks.logits(x, look=count - 1))


def test_a_backend_that_cannot_run_it_says_so(make_weights: Make) -> None:
    with pytest.raises(SettingError, match="several looks, which backend 'onnxruntime' does not run: take 'native'"):
        hydrart.load(make_weights(GRID_LOOKS), backend="onnxruntime")
