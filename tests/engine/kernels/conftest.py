"""A network that the tests of its steps drive."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hydrart.format.reader import WeightFile
from tests.support.driving import ARCH, BATCH, Array, K, Parts, State


@pytest.fixture
def network(make_weights: Callable[..., Path]) -> tuple[Parts, State, Array]:
    """The parts, the dense weights of K heads in float64, and random rows for the residual stream."""
    file = WeightFile(make_weights(ARCH))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 3, ARCH.image_size, ARCH.image_size)).astype(np.float32)
    state = {name: np.asarray(values, np.float64) for name, values in file.state(K).items()}
    parts = Parts(file, x)
    return parts, state, rng.standard_normal((BATCH, ARCH.tokens(K), parts.p)).astype(np.float32)
