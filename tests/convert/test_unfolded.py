"""convert/unfolded.py: the answers that a converted file of several looks is compared with."""

import numpy as np
import pytest

from hydrart.convert.unfolded import logits

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from tests.support.looks import CASES, case  # noqa: E402


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_an_independent_network(name: str) -> None:
    known = case(name)
    found = logits({tensor: values.numpy() for tensor, values in known.state.items()}, known.arch, known.x)
    assert tuple(found) == known.arch.heads
    for expected, values in zip(known.logits, found.values(), strict=True):
        np.testing.assert_allclose(values, expected[0], atol=1e-9)
