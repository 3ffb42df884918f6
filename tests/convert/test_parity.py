"""convert/parity.py: the answers that a written file is compared with."""

from pathlib import Path

import numpy as np
import pytest

from hydrart.convert import parity
from hydrart.convert.origin import Wishes, open_origin
from tests.support.converting import HEAD_DIM, KS, NAME, X, nested, torch
from tests.support.torch_vit import logits, separate_classifiers


@pytest.mark.parametrize("network", ["common classifier", "layer scale", "separate classifiers"])
def test_pytorch_and_numpy_agree_with_the_independent_network(tmp_path: Path, network: str) -> None:
    ks = (3, 6, 12) if network == "separate classifiers" else KS
    state = nested(layer_scale=network == "layer scale")
    if network == "separate classifiers":
        state = separate_classifiers(state, 3, ks, HEAD_DIM, full_width=True)
    torch.save({"arch": NAME, "state_dict": state}, tmp_path / "a.pth")
    source = open_origin(tmp_path / "a.pth", Wishes())
    arguments = source.tensors(), source.meta.architecture
    x = X.numpy()
    found = parity.numpy_logits(*arguments, x), parity.pytorch_logits(*arguments, source.heads, x)
    for k in ks:
        expected = logits(state, X, k, HEAD_DIM)[0].numpy()
        np.testing.assert_allclose(found[0][k], expected, atol=1e-9)
        np.testing.assert_allclose(found[1][k], expected, atol=1e-4)


def test_it_says_what_computed_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"arch": NAME, "state_dict": nested()}, tmp_path / "a.pth")
    source = open_origin(tmp_path / "a.pth", Wishes(heads=(3,)))
    arguments = source.tensors(), source.meta.architecture, source.heads, X.numpy()
    assert parity.source_logits(*arguments)[1] == "PyTorch"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found, name = parity.source_logits(*arguments)
    assert name == "float64 NumPy" and found[3].dtype == np.float64
