"""Merging of tokens in the native engine, against the reference."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.codegen.isa import ISAS, Isa, choose, host_features
from hydrart.engine import MAX_BATCH, reference
from hydrart.engine.native import NativeEngine
from hydrart.errors import SettingError
from hydrart.format.architecture import Architecture
from hydrart.format.metadata import Metadata
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.writer import write
from hydrart.prediction import softmax
from tests.engine.test_native import PRECISIONS, ROOT, bound, error, pictures
from tests.support.networks import random_state
from tests.support.products import Array

Make = Callable[..., Path]

DEEP = Architecture(image_size=48, patch=8, depth=4, head_dim=16, heads=(3, 5, 8), classes=10)  # 37 tokens
SHAPES = {
    "heads of 16": DEEP,
    "heads of 32": replace(DEEP, head_dim=32, heads=(1, 3), layer_scale=True),
    "heads of 64": replace(DEEP, head_dim=64, heads=(2, 3), depth=3),
    "many tokens": replace(DEEP, image_size=80, depth=3, heads=(3, 4)),
    "an even number": replace(DEEP, image_size=56, depth=4, heads=(3, 4)),
    "one block": replace(DEEP, depth=1),
    "two patches a side": replace(DEEP, image_size=16),
}


def expected(file: WeightFile, x: Array, k: int, merges: tuple[int, ...]) -> Array:
    """Logits in float64."""
    arch, state = file.meta.architecture, file.state(k)
    features = reference.features(state, arch, x.astype(np.float64), k, merges)
    logits: Array = reference.classify(state, arch, features, k)
    return logits


def schedules(arch: Architecture) -> list[tuple[int, ...]]:
    """Some merging, as much as there is, and one block alone that merges."""
    k = arch.heads[-1]
    half = arch.patches(k) // 2
    asked: list[int | list[int]] = [min(5, half), half, [0, *[1, 0, 0, 0][: arch.depth - 1]]]
    return [merges for r in asked if (merges := arch.merges(k, r))]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("arch", SHAPES.values(), ids=SHAPES.keys())
def test_answers_are_the_reference_s(make_weights: Make, arch: Architecture, threads: int) -> None:
    """The similarities of these random tokens are further apart than float32 rounds them."""
    file = WeightFile(make_weights(arch))
    engine = NativeEngine(file, threads)
    k, x = arch.heads[-1], pictures(arch, 2)
    for merges in schedules(arch):
        assert np.abs(engine.logits(x, k, merges) - expected(file, x, k, merges)).max() < 1e-4, merges


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("head_dim", [16, 64])
def test_a_picture_s_answer_depends_on_nothing_else(make_weights: Make, precision: str, head_dim: int) -> None:
    """Neither on the other pictures of a batch, nor on the threads, nor on the calls before."""
    arch = replace(DEEP, head_dim=head_dim, heads=(3, 10))
    file = WeightFile(make_weights(arch, precision))
    one, two, many = (NativeEngine(file, threads) for threads in (1, 2, 5))
    x = pictures(arch, MAX_BATCH + 1)
    for k in (10, 3):
        without = one.logits(x, k)
        for merges in schedules(arch):
            together = one.logits(x, k, merges)
            np.testing.assert_array_equal(two.logits(x, k, merges), together)
            np.testing.assert_array_equal(many.logits(x, k, merges), together)
            for i in (0, 3, MAX_BATCH):
                np.testing.assert_array_equal(two.logits(x[i : i + 1], k, merges)[0], together[i])
        np.testing.assert_array_equal(one.logits(x, k), without)


def twins(path: Path, head_dim: int, precision: str) -> tuple[WeightFile, Array, tuple[int, ...]]:
    """A network without positions, and pictures in which six even patches are each like the next odd one.

    Their tokens are equal, in every precision. So the first block merges them, and the network of the merged tokens is
    exactly that of all: a token that holds two counts twice in the softmax.
    """
    arch = replace(DEEP, head_dim=head_dim, heads=(3, 4), depth=3)
    state = random_state(arch)
    state["pos_embed"][:] = 0
    meta = Metadata(arch, precision, Preprocessing(arch.image_size, crop=1.0), (), licence="none", source="made up")
    write(path, meta, state)
    x = pictures(arch, 2)
    cut = x.reshape(2, 3, 6, 8, 6, 8).transpose(0, 2, 4, 1, 3, 5).reshape(2, 36, 3, 8, 8)
    even = np.arange(1, 24, 4)  # patch 1 is token 2
    cut[:, even + 1] = cut[:, even]
    x = cut.reshape(2, 6, 6, 3, 8, 8).transpose(0, 3, 1, 4, 2, 5).reshape(x.shape)
    return WeightFile(path), np.ascontiguousarray(x), (6, 0, 0)


# for one head_dim and precision after the other: how far answers with merging are from the reference's without
FORCED = """
import json, sys
from pathlib import Path
from tests.engine.kernels.test_merging import NativeEngine, error, expected, twins

for i, case in enumerate(json.loads(sys.argv[2])):
    file, x, merges = twins(Path(sys.argv[1]) / f"{i}.safetensors", *case)
    engine = NativeEngine(file, 2)
    print(json.dumps([error(engine.logits(x, k, merges), expected(file, x, k, ())) for k in (3, 4)]))
"""


@pytest.mark.parametrize("isa", [i for i in ISAS if host_features().issuperset(i.needs)], ids=lambda isa: isa.name)
def test_equal_tokens_are_merged_without_loss_on_every_instruction_set(tmp_path: Path, isa: Isa) -> None:
    cases = [(head_dim, precision) for head_dim in (16, 32, 64) for precision in PRECISIONS]
    done = subprocess.run(
        [sys.executable, "-c", FORCED, str(tmp_path), json.dumps(cases)],
        env=os.environ | {"HYDRART_ISA": isa.name},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (head_dim, precision), line in zip(cases, done.stdout.splitlines(), strict=True):
        assert max(json.loads(line)) < bound(precision, isa), (head_dim, precision)


def test_other_tokens_are_merged_with_loss(tmp_path: Path) -> None:
    """The test above would notice: of other pictures, the answer changes far more than its bound."""
    file, x, merges = twins(tmp_path / "w.safetensors", 16, "fp32")
    engine = NativeEngine(file, 1)
    other = pictures(file.meta.architecture, len(x), seed=1)
    assert error(engine.logits(other, 3, merges), expected(file, other, 3, ())) > 100 * bound("fp32", choose())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_not_finite_stays_in_its_picture(make_weights: Make, precision: str) -> None:
    file = WeightFile(make_weights(DEEP, precision))
    engine = NativeEngine(file, 2)
    x, merges = pictures(DEEP, 3), DEEP.merges(5, 18)
    clean = engine.logits(x, 5, merges)
    x[1] = np.nan
    answer = engine.logits(x, 5, merges)
    assert np.isnan(answer[1]).all()
    np.testing.assert_array_equal(answer[[0, 2]], clean[[0, 2]])


def test_a_model_merges_tokens(model: hydrart.Model, weights: Path) -> None:
    size = model.architecture.image_size
    x = np.random.default_rng(3).standard_normal((2, 3, size, size)).astype(np.float32)
    state, merges = model.file.state(5), model.architecture.merges(5, 4)
    wanted = reference.features(state, model.architecture, x.astype(np.float64), 5, merges)
    np.testing.assert_allclose(model.features(x, 5, merge=4), wanted, atol=1e-4)
    logits = model.logits(x, 5, merge=4)
    np.testing.assert_allclose(logits, reference.classify(state, model.architecture, wanted, 5), atol=1e-4)
    assert np.abs(logits - model.logits(x, 5)).max() > 1e-3, "merging changes the answer"
    np.testing.assert_array_equal(model.logits(x, 5, merge=[4, 4]), logits)
    np.testing.assert_array_equal(model.logits(x, 5, merge=0), model.logits(x, 5))
    picture = np.random.default_rng(4).integers(0, 256, (size, size, 3), np.uint8)
    one, (other,) = model(picture, 5, merge=4), model([picture], 5, merge=4)
    alone = softmax(model.logits(model.preprocess(picture), 5, merge=4)[0])
    for answer in (one, other, model.answer(model.preprocess(picture), 5, merge=4)):
        np.testing.assert_array_equal(answer.probabilities, alone)
    with pytest.raises(SettingError, match="merge=9 is more than half of the 17 tokens of block 0: pass at most 8"):
        model.logits(x, merge=9)
    with pytest.raises(SettingError, match="'onnxruntime' merges no tokens"):
        hydrart.load(weights, backend="onnxruntime").logits(x, merge=4)
