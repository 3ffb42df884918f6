"""The last block and the classifier, each alone, against the reference in float64."""

import numpy as np

from tests.support.driving import ARCH, BATCH, Array, Parts, State, block, close, norm


def test_last_block(network: tuple[Parts, State, Array]) -> None:
    """Only the class tokens; the residual stream stays as it is."""
    parts, state, x = network
    parts.x[:] = x.reshape(-1, parts.p)
    parts.last_block()
    wanted = block(x.astype(np.float64), state, ARCH.depth - 1)[:, 0]
    close(parts.rows("last_x", BATCH, parts.p), wanted)
    np.testing.assert_array_equal(parts.x, x.reshape(-1, parts.p))


def test_classify(network: tuple[Parts, State, Array]) -> None:
    parts, state, x = network
    parts.rows("last_x", BATCH, parts.p)[:] = x[:, 0]
    parts.features[:] = parts.logits[:] = np.nan
    parts.classify()
    features = norm(x[:, 0].astype(np.float64), state, "norm")
    close(parts.features, features)
    close(parts.logits, features @ state["head.weight"].T + state["head.bias"])
