"""Merging of tokens in the reference, against an independent PyTorch implementation."""

from dataclasses import replace

import numpy as np
import pytest

from hydrart.engine import merging, reference
from hydrart.format.architecture import Architecture
from tests.support.networks import random_state

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

DEEP = Architecture(image_size=48, patch=8, depth=4, head_dim=16, heads=(2, 3, 5), classes=10)  # 37 tokens
ARCHITECTURES = {
    "heads of 16": DEEP,
    "heads of 32": replace(DEEP, head_dim=32, layer_scale=True),
    "heads of 64": replace(DEEP, head_dim=64, depth=3),
    "separate classifiers": replace(DEEP, separate_classifiers=True),
}
FAR = 1e-6  # float64 choices that are this far from a tie are the same in both implementations


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
@pytest.mark.parametrize("merge", [6, 18, "mixed"])
def test_answers_are_those_of_pytorch(arch: Architecture, merge: int | str) -> None:
    from tests.support.torch_vit import merged_logits

    k, state = arch.heads[1], random_state(arch)
    merges = arch.merges(k, [7, 0, 5, 0][: arch.depth] if isinstance(merge, str) else merge)
    x = np.random.default_rng(0).standard_normal((2, 3, arch.image_size, arch.image_size))
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    expected, gap = merged_logits(tensors, torch.from_numpy(x), k, arch.head_dim, merges)
    assert gap > FAR
    features = reference.features(state, arch, x, k, merges)
    got = reference.classify(state, arch, features, k)
    assert np.abs(got - expected.numpy()).max() < 1e-9
    plain = reference.classify(state, arch, reference.features(state, arch, x, k), k)
    assert np.abs(got - plain).max() > 1e-4, "merging changed nothing"


def test_the_most_similar_tokens_are_merged() -> None:
    """Even tokens 2 and 6 are like odd tokens 5 and 1. Token 4 is less like token 3."""
    metric = np.zeros((1, 7, 4))
    metric[0, [0, 3, 4], :2] = [1, 0], [0, 1], [0.5, 1]
    metric[0, [2, 5], 2], metric[0, [1, 6], 3] = 1, 2
    kept, merged, partner = merging.match(metric, 2)
    assert kept.tolist() == [[0, 2]] and dict(zip(merged[0], partner[0], strict=True)) == {1: 2, 3: 0}
    x = np.arange(7.0)[None, :, None]
    sizes = np.array([[1.0, 1, 3, 1, 1, 1, 1]])
    y, after = merging.merge(x, sizes, metric, 2)
    np.testing.assert_allclose(y[0, :, 0], [0, 4, (1 + 6) / 2, 3, (3 * 2 + 5) / 4])
    assert after.tolist() == [[1, 1, 2, 1, 4]]


def test_the_class_token_is_never_merged_and_ties_go_to_the_first() -> None:
    kept, merged, partner = merging.match(np.ones((1, 8, 4)), 3)
    assert (kept.tolist(), merged.tolist(), partner.tolist()) == ([[0]], [[1, 2, 3]], [[0, 0, 0]])


def test_tokens_without_direction_are_merged_without_a_warning() -> None:
    kept, merged, _ = merging.match(np.zeros((1, 5, 4)), 1)
    assert kept.tolist() == [[0, 2]] and merged.tolist() == [[1]]
