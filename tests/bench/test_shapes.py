"""Networks of any shape with random weights."""

import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.bench import shapes
from hydrart.errors import HeadsError, SettingError
from hydrart.format.architecture import Architecture
from hydrart.format.precision import PRECISIONS
from hydrart.format.reader import WeightFile
from tests.support.benching import ARCH


@pytest.mark.parametrize(
    ("text", "heads", "changed"),
    [
        ("hydravit-b", tuple(range(3, 13)), {}),
        ("deit-tiny", (3,), {}),
        ("deit-base,depth=2,image=384", (12,), {"depth": 2, "image_size": 384}),
        ("heads=5,head_dim=32", (5,), {"head_dim": 32}),
        ("hydravit-b,heads=1+4-6", (1, 4, 5, 6), {}),
        ("patch=8,classes=10", tuple(range(3, 13)), {"patch": 8, "classes": 10}),
    ],
)
def test_shapes(text: str, heads: tuple[int, ...], changed: dict[str, Any]) -> None:
    assert shapes.parse_shape(text) == replace(shapes.HYDRAVIT_B, heads=heads, **changed)


def test_hydravit_b_is_the_paper_s() -> None:
    arch = shapes.parse_shape("hydravit-b")
    assert (arch.tokens(12), arch.width(12), arch.depth, arch.classes) == (197, 768, 12, 1000)
    assert arch.parameters(12) == 86_567_656, "timm's vit_base_patch16_224"
    assert arch.parameters(3) == 5_717_416, "timm's vit_tiny_patch16_224"


def test_ranges_take_the_trained_ks() -> None:
    arch = replace(ARCH, heads=(3, 6, 12))
    assert shapes.choose_heads([(3, 12)], arch) == (3, 6, 12)
    assert shapes.choose_heads([(12, 12), (4, 7)], arch) == (6, 12)
    for wrong in ((4, 4), (7, 11)):
        with pytest.raises(HeadsError, match="3, 6, 12"):
            shapes.choose_heads([wrong], arch)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("arch", [ARCH, replace(ARCH, layer_scale=True, separate_classifiers=True)])
def test_random_weights(arch: Architecture, precision: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    with shapes.random_weights(arch, precision) as path:
        WeightFile(path).verify()
        model = hydrart.load(path, threads=1)
        assert model.architecture == arch and model.precision == precision
        answers = [model.logits(x, k) for k in arch.heads]
        assert all(np.isfinite(y).all() and 0.01 < y.std() < 10 for y in answers)
    assert not path.exists() and not path.parent.exists()


def test_a_shape_for_which_there_is_no_room() -> None:
    """The file would take terabytes; nothing of it is written."""
    giant = replace(shapes.HYDRAVIT_B, depth=256, heads=(64,), classes=1_000_000)
    room = shutil.disk_usage("/tmp")
    words = r"the weights of this shape take .* GB of room: choose a smaller shape, or set TMPDIR to a larger disk"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: room._replace(free=10**9))
        with pytest.raises(SettingError, match=words), shapes.random_weights(giant):
            pass
