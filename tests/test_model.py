"""The Python API."""

import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.engine import reference
from hydrart.errors import HeadsError, PictureError, SettingError, UnfinishedWeightFileError, WeightFileError
from hydrart.format.reader import WeightFile
from tests.support.networks import CIFAR, SMALL, random_state

Make = Callable[..., Path]

PICTURE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)


def test_public_names() -> None:
    assert sorted(hydrart.__all__) == hydrart.__all__
    assert set(hydrart.__all__) == {
        "Decision",
        "Event",
        "Governor",
        "HeadsError",
        "HydrartError",
        "MissingExtraError",
        "Model",
        "Opener",
        "PictureError",
        "Prediction",
        "Profile",
        "ProfileError",
        "Result",
        "Sensors",
        "SettingError",
        "Shot",
        "SourceError",
        "Stream",
        "WeightFileError",
        "load",
    }


def test_prediction(model: hydrart.Model) -> None:
    answer = model(PICTURE, k=5)
    assert answer.k == 5
    top = answer.top(10)
    assert (answer.label, answer.score) == top[0] and answer.label in CIFAR
    assert sorted(label for label, _ in top) == sorted(CIFAR)
    scores = [score for _, score in top]
    assert scores == sorted(scores, reverse=True) and abs(sum(scores) - 1) < 1e-5
    assert answer.latency_ms == answer.preprocess_ms + answer.infer_ms > 0
    logits = model.logits(model.preprocess(PICTURE), 5)
    assert answer.label == CIFAR[int(logits.argmax())]


def test_a_list_of_pictures_gives_a_list_of_answers(model: hydrart.Model, tmp_path: Path) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), np.uint8) for i in range(19)]
    answers = model(pictures, k=5)
    for picture, answer in zip(pictures, answers, strict=True):
        single = model(picture, k=5)
        np.testing.assert_array_equal(answer.probabilities, single.probabilities)
        assert answer.k == 5 and answer.label == single.label
        assert answer.preprocess_ms > 0 and answer.infer_ms > 0
    path = tmp_path / "x.png"
    Image.fromarray(PICTURE).save(path)
    mixed = model((path, Image.fromarray(PICTURE), PICTURE))
    assert len({answer.score for answer in mixed}) == 1
    none: Any = np.zeros((0, 8, 8, 3), np.uint8)
    assert model([]) == [] and model(none) == []
    with pytest.raises(PictureError, match="does not exist"):
        model([PICTURE, tmp_path / "none.png"])


@pytest.mark.parametrize("shape", [(9, 20, 30, 3), (1, 20, 30, 3), (2, 20, 30, 4), (2, 20, 30, 1)])
def test_an_array_of_pictures_gives_a_list_of_answers(shape: tuple[int, ...], model: hydrart.Model) -> None:
    pictures: Any = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for answer, picture in zip(model(pictures, 5), pictures, strict=True):
        np.testing.assert_array_equal(answer.probabilities, model(picture, 5).probabilities)


def test_pictures_of_opencv(model: hydrart.Model) -> None:
    expected = model(PICTURE).probabilities
    bgr = PICTURE[:, :, ::-1]
    np.testing.assert_array_equal(model(bgr, bgr=True).probabilities, expected)
    np.testing.assert_array_equal(model([bgr], bgr=True)[0].probabilities, expected)
    np.testing.assert_array_equal(model.preprocess(bgr, bgr=True), model.preprocess(PICTURE))


def test_what_is_shown(model: hydrart.Model) -> None:
    answer = model(PICTURE, k=5)
    shown = repr(answer)
    assert shown.startswith(f"Prediction({answer.label!r}, score={answer.score:.3f}, k=5, latency_ms=")
    assert dir(hydrart) == sorted([*hydrart.__all__, "__version__"])


def test_the_default_is_the_largest(model: hydrart.Model) -> None:
    assert model(PICTURE).k == 12 == model.heads[-1]
    x = model.preprocess(PICTURE)
    np.testing.assert_array_equal(model.logits(x), model.logits(x, 12))


@pytest.mark.parametrize("k", SMALL.heads)
def test_logits_and_features_are_the_reference_s(model: hydrart.Model, k: int) -> None:
    x = np.random.default_rng(k).standard_normal((4, 3, 32, 32)).astype(np.float32)
    state = random_state(SMALL)
    features = reference.features(state, SMALL, x.astype(np.float64), k)
    assert model.features(x, k).shape == (4, k * 16)
    np.testing.assert_allclose(model.features(x, k), features, atol=1e-4)
    logits = model.logits(x, k)
    assert logits.shape == (4, 10) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, reference.classify(state, SMALL, features, k), atol=1e-4)


def test_small_first_or_large_first_is_the_same(weights: Path) -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    up, down = hydrart.load(weights), hydrart.load(weights)
    first = [up.logits(x, k) for k in up.heads]
    second = [down.logits(x, k) for k in reversed(down.heads)]
    for a, b in zip(first, reversed(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_are_near(precision: str, model: hydrart.Model, make_weights: Make) -> None:
    other = hydrart.load(make_weights(precision=precision), precision=precision)
    assert other.precision == precision
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    for k in (3, 12):
        difference = np.abs(other.logits(x, k) - model.logits(x, k)).max()
        assert 0 < difference < 0.2


def test_separate_classifiers(make_weights: Make) -> None:
    arch = replace(SMALL, separate_classifiers=True)
    state = random_state(arch)
    model = hydrart.load(make_weights(arch))
    x = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    for k in (12, 3, 7):
        expected = model.features(x, k) @ state[f"heads.{k}.weight"].T + state[f"heads.{k}.bias"]
        np.testing.assert_allclose(model.logits(x, k), expected, atol=1e-5)


@pytest.mark.parametrize("k", [2, 13, 0, -1, 3.5, "3", True])
def test_a_k_that_was_not_trained(model: hydrart.Model, k: Any) -> None:
    with pytest.raises(HeadsError, match="was not trained: choose from 3-12"):
        model(PICTURE, k=k)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((3, 32, 32), np.float32),
        np.zeros((1, 3, 32, 31), np.float32),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 3, 32, 32), np.uint8),
    ],
)
def test_inputs_that_do_not_fit(model: hydrart.Model, x: NDArray[Any]) -> None:
    with pytest.raises(PictureError, match=r"pass float32 \[B, 3, 32, 32\]"):
        model.logits(x)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("pixels", [1, 3072], ids=["one", "all"])
@pytest.mark.parametrize("bits", [0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F800001, 0x7F800000, 0xFF800000, 0x7E967699])
def test_inputs_that_are_not_finite(make_weights: Make, precision: str, backend: str, pixels: int, bits: int) -> None:
    """NaN of any payload, infinity, and 1e38, from which no network stays finite: the input is to blame."""
    model = hydrart.load(make_weights(precision=precision), precision=precision, backend=backend)
    x = np.zeros((1, 3, 32, 32), np.float32)
    x.reshape(-1)[:pixels] = np.array([bits], np.uint32).view(np.float32)
    for answer in (model.logits, model.features):
        with pytest.raises(PictureError, match="the input holds numbers that are not finite, or beyond 1e\\+12: "):
            answer(x, 3)


def test_the_largest_inputs_that_a_file_may_ask_for(model: hydrart.Model) -> None:
    for value in (1e12, -1e12):
        assert np.isfinite(model.logits(np.full((1, 3, 32, 32), value, np.float32), 12)).all()


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["attn.qkv.weight", "mlp.fc1.weight", "norm1.bias"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e30])
def test_weights_that_are_not_finite(
    value: float, name: str, precision: str, backend: str, make_weights: Make, tmp_path: Path
) -> None:
    """One rule for every engine: such a file gives no answer. In an answer, not every NaN would be seen."""
    weights = make_weights(precision=precision)
    file = WeightFile(weights)
    tensor = file.layout.tensors[f"shell03.blocks.0.{name}"]
    data = bytearray(weights.read_bytes())
    bits = np.float32(value).tobytes()[2 if tensor.dtype == "BF16" else 0 :]
    data[file.start + tensor.begin : file.start + tensor.begin + len(bits)] = bits
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightFileError, match=f"blocks.0.{name} holds numbers that are not finite, or beyond "):
        hydrart.load(path, precision=precision, backend=backend)(PICTURE, k=3)


def test_a_file_that_changes_in_place_gives_no_more_answers(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(weights.read_bytes())
    mapped, read = hydrart.load(path), hydrart.load(path, mmap=False)
    expected = read(PICTURE, k=3).score
    assert mapped(PICTURE, k=3).score == expected
    with open(path, "r+b") as file:
        file.seek(WeightFile(weights).start)
        file.write(np.ones(1000, np.float32).tobytes())
    for call in (lambda: mapped(PICTURE, k=3), lambda: mapped.features(mapped.preprocess(PICTURE))):
        with pytest.raises(UnfinishedWeightFileError, match="was written to while it is in use"):
            call()
    assert read(PICTURE, k=3).score == expected
    assert not pickle.loads(pickle.dumps(read)).file.mapped


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"weights": None}, "weights=None is no weight file: pass a path, or the name of one that ships"),
        ({"weights": 3}, "weights=3 is no weight file"),
        ({"precision": "fp16"}, "choose from auto, fp32, bf16, int8"),
        ({"precision": "int8"}, "stores fp32, not int8"),
        ({"backend": "cuda"}, "choose from native, reference, onnxruntime"),
        ({"threads": 0}, "whole number from 1"),
        ({"threads": 1.5}, "whole number from 1"),
    ],
)
def test_settings_that_do_not_exist(settings: dict[str, object], words: str, weights: Path) -> None:
    with pytest.raises(SettingError, match=words):
        hydrart.load(**{"weights": weights} | settings)  # type: ignore[arg-type]


def test_names(tmp_path: Path) -> None:
    with pytest.raises(WeightFileError, match="did you mean hydravit-cifar10"):
        hydrart.load("hydravit-cifar")
    with pytest.raises(WeightFileError, match="does not exist: check the path"):
        hydrart.load(tmp_path / "x.safetensors")


def test_labels_that_are_unknown(make_weights: Make) -> None:
    model = hydrart.load(make_weights(replace(SMALL, classes=120)))
    assert model.labels[7] == "class 007" and len(model.labels) == 120


def test_eight_threads_at_once(weights: Path) -> None:
    model = hydrart.load(weights)
    inputs = np.random.default_rng(0).standard_normal((8, 1, 3, 32, 32)).astype(np.float32)
    single = hydrart.load(weights)
    expected = {(i, k): single.logits(inputs[i], k) for i in range(8) for k in (3, 8, 12)}
    wrong: list[object] = []

    def work(i: int) -> None:
        try:
            for n in range(30):
                k = (3, 8, 12)[(i + n) % 3]
                if not np.array_equal(model.logits(inputs[i], k), expected[i, k]):
                    wrong.append((i, k))
        except Exception as error:  # told to the test
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_cap_the_blas_pool(weights: Path) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def pools() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(None):  # puts back what the others had
        hydrart.load(weights, threads=2, backend="reference")
        assert hydrart.load(weights, backend="reference").threads == 2
        assert hydrart.load(weights, threads=1, backend="reference").threads == 1
        assert pools() == {1}


def test_profile(model: hydrart.Model, tmp_path: Path) -> None:
    rows = model.profile().points
    assert [row.k for row in rows] == list(model.heads)
    assert all(a.work < b.work for a, b in pairwise(rows))
    device = tmp_path / "d.yaml"
    device.write_text("latency_ms: {3: 4.5, 12: 60}\npower_w: {idle: 2, 3: 3.5}\n")
    rows = model.profile(device).points
    assert (rows[0].latency_ms, rows[0].power_w, rows[1].latency_ms, rows[-1].latency_ms) == (4.5, 3.5, None, 60)


def test_every_k_is_measured(model: hydrart.Model) -> None:
    shown: list[int] = []

    def progress(ks: Sequence[int]) -> Iterator[int]:
        for k in ks:
            shown.append(k)
            yield k

    latency_ms = model.measure(progress)
    assert list(latency_ms) == shown == list(model.heads) and all(0 < value < 60_000 for value in latency_ms.values())
    profile = model.profile().measured(latency_ms)
    assert {row.k: row.latency_ms for row in profile.points} == latency_ms


def test_a_size_that_is_expected_is_ready(model: hydrart.Model) -> None:
    from hydrart.picture import resize

    model.expect(123, 77)
    before = resize._axis.cache_info()
    model.preprocess(np.zeros((123, 77, 3), np.uint8))
    after = resize._axis.cache_info()
    assert after.misses == before.misses and after.hits == before.hits + 2


def test_greyscale_and_upside_down_are_accepted(model: hydrart.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("L", (1, 1)).save(path)
    assert model(path).label in CIFAR


def test_how_pictures_become_squares(weights: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 90, 3), np.uint8)
    inputs = [hydrart.load(weights, fit=fit).preprocess(picture) for fit in ("crop", "pad", "stretch")]
    np.testing.assert_array_equal(inputs[0], hydrart.load(weights).preprocess(picture))
    assert not any(np.array_equal(a, b) for a, b in combinations(inputs, 2))
    box = hydrart.load(weights).seen(40, 90)
    assert box.height == pytest.approx(box.width * 90 / 40, rel=0.1) and box.left > box.top
    assert hydrart.load(weights, fit="pad").seen(40, 90) == (0, 0, 1, 1)
    with pytest.raises(SettingError, match="fit='squash' is unknown: choose from crop, pad, stretch"):
        hydrart.load(weights, fit="squash")


def test_several_ks_are_looks(model: hydrart.Model) -> None:
    single = [model(PICTURE, k=k) for k in (3, 8)]
    for several in ((3, 8), [3, 8]):
        answer = model(PICTURE, several)
        assert (answer.k, answer.look, answer.abandoned) == (8, 1, ())
        np.testing.assert_array_equal(answer.probabilities, single[1].probabilities)
    late = model(PICTURE, (3, 8, 12), deadline_ms=0)
    assert (late.k, late.look, late.abandoned) == (3, 0, (8, 12))
    np.testing.assert_array_equal(late.probabilities, single[0].probabilities)
    x = model.preprocess(PICTURE)
    times: dict[Any, tuple[int, ...]] = {-1: (8,), 0: (8,), np.float32(0): (8,), None: (), 1e6: (), 1e300: ()}
    for deadline_ms, abandoned in times.items():
        assert model.answer(x, (3, 8), deadline_ms=deadline_ms).abandoned == abandoned
    assert model.answer(x, deadline_ms=0).k == 12, "the first look always ends"
    both = model([PICTURE, PICTURE], (3, 8))
    assert [(answer.k, answer.look, answer.label) for answer in both] == [(8, 1, single[1].label)] * 2


def test_an_answer_is_wanted_now(model: hydrart.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    model.stop()  # nothing is being computed
    x = model.preprocess(PICTURE)
    assert model.answer(x, (3, 8)).k == 8
    looking = model._engine.looking

    @contextmanager
    def stopped(x: Any, merges: Any) -> Iterator[Any]:
        with looking(x, merges) as view:
            model.stop()
            yield view

    monkeypatch.setattr(model._engine, "looking", stopped)
    assert model.answer(x, (3, 8)).abandoned == (8,)


@pytest.mark.parametrize("k", [(), (8, 3), (3, 3), (3, 99), (3, "8"), (3, None, 8), "3", (True,)])
def test_looks_that_do_not_fit(model: hydrart.Model, k: Any) -> None:
    with pytest.raises(HeadsError, match=r"was not trained|are no looks"):
        model(PICTURE, k)


@pytest.mark.parametrize("deadline_ms", ["40", float("nan"), float("inf"), True, [40]])
def test_deadlines_that_are_no_time(model: hydrart.Model, deadline_ms: Any) -> None:
    with pytest.raises(SettingError, match="is no time: pass milliseconds"):
        model(PICTURE, (3, 8), deadline_ms=deadline_ms)
    with pytest.raises(SettingError, match="pass its pictures one by one"):
        model([PICTURE], (3, 8), deadline_ms=40)  # type: ignore[call-overload]
    with pytest.raises(PictureError, match="holds no picture"):
        model.answer(np.zeros((0, 3, 32, 32), np.float32))
