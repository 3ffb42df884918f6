"""One block, alone, against the reference in float64."""

import numpy as np
import pytest

from tests.support.driving import Array, Parts, State, block, close


@pytest.mark.parametrize("index", [0, 1])
def test_block(network: tuple[Parts, State, Array], index: int) -> None:
    parts, state, x = network
    parts.x[:] = x.reshape(-1, parts.p)
    parts.block(index)
    close(parts.x, block(x.astype(np.float64), state, index).reshape(-1, parts.p))
