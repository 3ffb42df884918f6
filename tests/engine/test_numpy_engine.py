"""engine/numpy_engine.py: the reference over a weight file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from hydrart.engine.numpy_engine import NumpyEngine
from hydrart.format.reader import WeightFile
from tests.support.answers import expected, pictures
from tests.support.networks import SMALL


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
