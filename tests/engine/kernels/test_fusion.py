"""What a look takes over from the one before, picture by picture; tests/engine/test_native.py has whole batches."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hydrart.codegen.isa import choose
from hydrart.engine.native import NativeEngine
from hydrart.errors import SettingError
from hydrart.format.architecture import Architecture, Look
from hydrart.format.metadata import Metadata
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.writer import write
from tests.engine.test_native import bound, error, oracle, pictures
from tests.support.networks import SMALL

Make = Callable[..., Path]

LOOKS = {
    "tokens": replace(SMALL, depth=3, heads=(2, 3, 6), looks=tuple(Look(k, 32) for k in (2, 3, 6)), fusion="tokens"),
    "grid": replace(
        SMALL, image_size=40, heads=(2, 3, 6), looks=(Look(2, 16), Look(3, 24), Look(6, 40)), fusion="grid"
    ),
}
networks = pytest.mark.parametrize("arch", LOOKS.values(), ids=LOOKS)
BATCH = 5
CASES = ("thinking", "thinking of three", "thinking, cut", "progressive", "progressive of three", "distilled")


@networks
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_pictures_drop_out(make_weights: Make, arch: Architecture, precision: str, threads: int) -> None:
    file, x = WeightFile(make_weights(arch, precision)), pictures(arch, BATCH)
    engine = NativeEngine(file, threads)
    keeps = ([0, 1, 2, 3, 4], [1, 3, 4], [3])
    for _ in range(2):
        with engine.looking(x) as view:
            for k, keep in zip(arch.heads, keeps, strict=True):
                logits = view.look(k, keep)
                assert logits is not None
                assert error(logits, oracle(file, x, k)[0][keep]) < bound(precision, choose()), f"k={k}"
    with engine.looking(x) as view:
        view.look(2)
        nobody = view.look(3, [])
        assert nobody is not None and nobody.shape == (0, arch.classes)


@networks
def test_the_second_look_uses_the_first(make_weights: Make, arch: Architecture) -> None:
    """With other weights of the fusion alone, the second look differs, and the first does not."""
    path, x = make_weights(arch), pictures(arch, 1)
    file, other = WeightFile(path), WeightFile(path)
    data = file.data.copy()
    for name, entry in file.layout.tensors.items():
        if ".fusion." in name:
            data[entry.begin : entry.end] = 0
    other.data = data
    first, second = NativeEngine(file, 1), NativeEngine(other, 1)
    np.testing.assert_array_equal(first.logits(x, 2), second.logits(x, 2))
    assert np.abs(first.logits(x, 3) - second.logits(x, 3)).max() > 1e-3


@networks
def test_an_abandoned_look_leaves_the_engine_clean(make_weights: Make, arch: Architecture) -> None:
    file, x = WeightFile(make_weights(arch)), pictures(arch, 2)
    engine = NativeEngine(file, 2)
    alone = {k: engine.logits(x, k) for k in arch.heads}
    rng = np.random.default_rng(0)
    ended = []
    for _ in range(200):
        with engine.looking(x) as view:
            np.testing.assert_array_equal(view.look(2), alone[2])
            answer = view.look(3, deadline=time.perf_counter() + rng.uniform(0, 1e-3))
            ended.append(answer is not None)
            if answer is None:
                assert view.look(6) is None, "there is nothing to take over"
            else:
                np.testing.assert_array_equal(answer, alone[3])
    assert not all(ended)
    for k in arch.heads:
        np.testing.assert_array_equal(engine.logits(x, k), alone[k])


@networks
def test_looks_come_in_their_order(make_weights: Make, arch: Architecture) -> None:
    engine, x = NativeEngine(WeightFile(make_weights(arch)), 1), pictures(arch, 1)
    with engine.looking(x) as view:
        with pytest.raises(SettingError, match="the look of 3 heads does not follow that of 0"):
            view.look(3)
        view.look(2)
        for k in (2, 6):
            with pytest.raises(SettingError, match=f"the look of {k} heads does not follow that of 2"):
                view.look(k)
    with pytest.raises(SettingError, match="9 pictures are too many"), engine.looking(pictures(arch, 9)):
        pass


@pytest.mark.parametrize("name", CASES)
def test_answers_are_those_of_an_independent_network(name: str, tmp_path: Path) -> None:
    """Gates, layer scales and projections of the authors' layout, folded into a weight file."""
    looks = pytest.importorskip("tests.support.looks", reason="PyTorch is not installed (extra: train)")
    case = looks.case(name)
    path = tmp_path / "looks.safetensors"
    preprocessing = Preprocessing(case.arch.image_size, crop=1.0)
    write(path, Metadata(case.arch, "fp32", preprocessing, (), licence="none", source="made up"), case.folded())
    x = case.x.astype(np.float32)
    with NativeEngine(WeightFile(path), 2).looking(x) as view:
        for k, wanted in zip(case.arch.heads, case.logits, strict=True):
            logits = view.look(k)
            assert logits is not None
            np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)
