"""bench/torch_network.py against the reference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hydrart.bench.torch_network import network
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from tests.support.answers import SHAPES, close, expected, pictures

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("all_tokens", [False, True], ids=["class token", "all tokens"])
@pytest.mark.parametrize("arch", SHAPES.values(), ids=SHAPES)
def test_it_answers_as_the_reference(make_weights: Callable[..., Path], arch: Architecture, all_tokens: bool) -> None:
    file = WeightFile(make_weights(arch))
    x = pictures(arch, 3)
    for k in (arch.heads[0], arch.heads[-1]):
        with torch.inference_mode():
            logits = network(torch, file.state(k), arch, k, all_tokens)(torch.from_numpy(x)).numpy()
        close(logits, expected(file, x, k)[0])


def test_the_weights_are_copied(weights: Path) -> None:
    file = WeightFile(weights)
    arch, x = file.meta.architecture, torch.from_numpy(pictures(file.meta.architecture))
    state = {name: np.array(values) for name, values in file.state(3).items()}
    forward = network(torch, state, arch, 3, all_tokens=False)
    with torch.inference_mode():
        before = forward(x).numpy()
        for values in state.values():
            values[:] = 0
        np.testing.assert_array_equal(forward(x).numpy(), before)
