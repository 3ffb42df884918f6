"""convert/fold.py: the folded tensors give the answers of the network as its authors write it."""

import math

import numpy as np
import pytest

from hydrart.convert.fold import regridded
from hydrart.engine import reference
from hydrart.format.roles import parameters_of

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from tests.support.looks import CASES, case  # noqa: E402


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_has_the_shape_of_its_role(name: str) -> None:
    arch, folded = case(name).arch, case(name).folded()
    shapes = {parameter.name: parameter.shape(arch.heads[-1]) for parameter in parameters_of(arch).values()}
    assert {name: tensor.shape for name, tensor in folded.items()} == shapes
    assert all(np.isfinite(tensor).all() for tensor in folded.values())


@pytest.mark.parametrize("name", CASES)
def test_what_a_look_adds_matters(name: str) -> None:
    """Without it, the logits differ by far more than the bounds of the comparisons."""
    known, folded = case(name), case(name).folded()
    arch, last = known.arch, known.arch.heads[-1]
    kinds = {part for tensor in folded if tensor.startswith(f"looks.{last}.") for part in [tensor.split(".", 2)[2]]}
    for kind in sorted(kinds):
        changed = folded[f"looks.{last}.{kind}"] * 0.9
        before = None
        for k in arch.heads:
            state = folded | ({f"looks.{last}.{kind}": changed} if k == last else {})
            before = reference.tokens(state, arch, known.x, k, before)
        assert before is not None
        logits = reference.classify(folded, arch, before[:, 0], last)
        assert np.abs(logits - known.logits[-1]).max() > 1e-4, kind


def test_positions_are_resampled_as_a_picture() -> None:
    rows = np.random.default_rng(0).standard_normal((1 + 15**2, 4))
    picture = torch.from_numpy(rows[1:].T.reshape(1, 4, 15, 15).copy())
    there = torch.nn.functional.interpolate(picture, (12, 12), mode="bicubic", antialias=True)
    np.testing.assert_allclose(regridded(rows, 12), there.numpy().reshape(4, 144).T, atol=1e-12)
    np.testing.assert_array_equal(regridded(rows, 15), rows[1:])
    assert math.isqrt(len(regridded(rows, 12))) == 12
