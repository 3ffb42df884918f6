"""engine/numpy_engine.py: the reference over a weight file."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hydrart.engine import reference
from hydrart.engine.numpy_engine import NumpyEngine
from hydrart.format.architecture import Architecture
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile
from tests.support.answers import expected, pictures
from tests.support.networks import GRID_LOOKS, SMALL, TOKEN_LOOKS


class Counted(WeightFile):
    """A weight file that notes which k it was decoded for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.decoded: list[int] = []

    def state(self, k: int):  # type: ignore[no-untyped-def]
        self.decoded.append(k)
        return super().state(k)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_answers_as_the_reference(make_weights: Callable[..., Path], precision: str) -> None:
    file = WeightFile(make_weights(SMALL, precision))
    engine = NumpyEngine(file, 1)
    x = pictures(SMALL, 2)
    for k in (3, 12, 7):
        logits, features = expected(file, x, k)
        np.testing.assert_allclose(engine.logits(x, k), logits, atol=1e-5)
        np.testing.assert_allclose(engine.features(x, k), features, atol=1e-5)


def test_weights_are_decoded_only_for_a_larger_k(weights: Path) -> None:
    file = Counted(weights)
    engine = NumpyEngine(file, 1)
    for k in (5, 3, 5, 12, 7):
        engine.logits(pictures(SMALL), k)
    assert file.decoded == [5, 12]


def test_threads_are_those_of_blas(weights: Path) -> None:
    def blas() -> Iterator[int]:
        return (pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    assert NumpyEngine(WeightFile(weights), 1).threads == 1 and set(blas()) == {1}
    assert NumpyEngine(WeightFile(weights), None).threads == 1, "as it was"


def test_what_is_not_finite_leaves_no_warning(weights: Path) -> None:
    x = np.full_like(pictures(SMALL), np.inf)
    assert np.isnan(NumpyEngine(WeightFile(weights), 1).logits(x, 3)).all(), "warnings are errors"


def same(logits: FloatArray | None, expected: FloatArray) -> None:
    assert logits is not None and logits.shape == expected.shape
    assert np.abs(logits - expected).max() < 1e-5


def looks(state: Mapping[str, FloatArray], arch: Architecture, x: FloatArray) -> list[FloatArray]:
    """The logits of every look, one after the other."""
    found: list[FloatArray] = []
    before = None
    for k in arch.heads:
        before = reference.tokens(state, arch, x, k, before)
        found.append(reference.classify(state, arch, before[:, 0], k))
    return found


@pytest.mark.parametrize("arch", [TOKEN_LOOKS, GRID_LOOKS], ids=["tokens", "grid"])
def test_a_later_look_takes_up_the_one_before(make_weights: Callable[..., Path], arch: Architecture) -> None:
    file = WeightFile(make_weights(arch))
    x, engine = pictures(arch, 4), NumpyEngine(file, 1)
    expected = looks(file.state(arch.heads[-1]), arch, x)
    with engine.looking(x) as view:
        for k, logits in zip(arch.heads, expected, strict=True):
            same(view.look(k), logits)
    with engine.looking(x) as view:
        view.look(arch.heads[0])
        same(view.look(arch.heads[1], keep=[1, 3]), expected[1][[1, 3]])
        if len(expected) > 2:
            same(view.look(arch.heads[2], keep=[3]), expected[2][[3]])
    assert np.abs(expected[0] - expected[1]).max() > 1e-2


def test_any_k_may_follow_any_other_where_each_answers_alone(weights: Path) -> None:
    engine, x = NumpyEngine(WeightFile(weights), 1), pictures(SMALL, 3)
    with engine.looking(x) as view:
        first, second = view.look(8), view.look(3, keep=[2])
    same(first, engine.logits(x, 8))
    same(second, engine.logits(x, 3)[[2]])


def test_a_late_look_is_left_out(make_weights: Callable[..., Path]) -> None:
    engine, x = NumpyEngine(WeightFile(make_weights(GRID_LOOKS)), 1), pictures(GRID_LOOKS)
    with engine.looking(x) as view:
        assert view.look(3, deadline=0.0) is not None, "the first look always runs"
        assert view.look(6, deadline=0.0) is None
    with engine.looking(x) as view:
        view.look(3)
        engine.stop()
        assert view.look(6) is None
    with engine.looking(x) as view:
        assert view.look(3) is not None and view.look(6) is not None
