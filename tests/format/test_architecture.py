"""format/architecture.py: which shapes there are, and the numbers that follow from one."""

from dataclasses import replace

import numpy as np
import pytest

from hydrart.errors import HeadsError
from hydrart.format.architecture import Architecture, Look, listing
from tests.support.architectures import architectures
from tests.support.networks import GRID_LOOKS, SMALL, TOKEN_LOOKS, random_state

DEIT_TINY = Architecture(image_size=224, patch=16, depth=12, head_dim=64, heads=(3,), classes=1000)


def test_numbers_of_a_published_network() -> None:
    """DeiT-tiny (ICML 2021, arXiv 2012.12877) has 5.7 million parameters; timm counts 5717416."""
    assert (DEIT_TINY.patches(3), DEIT_TINY.tokens(3), DEIT_TINY.patch_inputs, DEIT_TINY.width(3)) == (
        196,
        197,
        768,
        192,
    )
    assert DEIT_TINY.parameters(3) == 5_717_416


def test_multiply_accumulates_by_hand() -> None:
    p, tokens = 192, 197
    of_block = tokens * (3 * p * p + p * p + 2 * 4 * p * p) + 2 * tokens * tokens * p
    assert DEIT_TINY.macs(3) == 196 * 768 * p + 12 * of_block + p * 1000


@architectures
def test_parameters_are_the_numbers_of_the_tensors(arch: Architecture) -> None:
    if not arch.separate_classifiers and not arch.looks:
        state = random_state(arch)
        assert arch.parameters(arch.heads[-1]) == sum(np.size(values) for values in state.values())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_size": 0}, "image_size is 0, not a whole number from 1 to 4096"),
        ({"image_size": 32.0}, "image_size is 32.0"),
        ({"depth": True}, "depth is True"),
        ({"depth": 257}, "from 1 to 256"),
        ({"classes": 0}, "classes is 0"),
        ({"patch": 64}, "patch is 64, not a whole number from 1 to 32"),
        ({"patch": 5}, "image_size 32 is no multiple of patch 5"),
        ({"head_dim": 48}, "head_dim is 48, not one of 16, 32, 64"),
        ({"heads": ()}, "heads are"),
        ({"heads": (0, 1)}, "heads are"),
        ({"heads": (3, 65)}, "heads are"),
        ({"heads": (3, 3)}, "not ascending"),
        ({"heads": (6, 3)}, "not ascending"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps is 0.0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps is nan"),
    ],
)
def test_numbers_that_do_not_fit(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fusion": "sum"}, "fusion is 'sum', not one of none, tokens, grid"),
        ({"fusion": "none"}, "fusion is none, but the network has 2 looks"),
        ({"looks": ()}, "fusion is grid, but the network has no looks"),
        ({"looks": (Look(3, 24), Look(5, 32))}, r"its looks run \[3, 5\] heads, its heads are \[3, 6\]"),
        ({"looks": (Look(6, 24), Look(3, 32))}, r"its looks run \[6, 3\] heads"),
        ({"looks": (Look(3, 24),)}, r"its looks run \[3\] heads"),
        ({"looks": (Look(3, 24), Look(3, 32)), "heads": (3, 3)}, "not ascending"),
        ({"looks": (Look(3, 20), Look(6, 32))}, "look 0 takes pictures of 20 pixels, not of a multiple of patch 8 up"),
        ({"looks": (Look(3, 24), Look(6, 48))}, "look 1 takes pictures of 48 pixels.* up to 40"),
        ({"looks": (Look(3, 0), Look(6, 32))}, "look 0 takes pictures of 0 pixels"),
        ({"looks": (Look(3, True), Look(6, 32))}, r"look 0 takes pictures of True pixels"),
        ({"looks": (Look(3, 32), Look(6, 24))}, r"the sizes of its looks, \[32, 24\], descend"),
        ({"fusion": "tokens"}, r"add token to token, but their sizes differ: \[24, 32\]"),
        ({"separate_classifiers": True}, "separate classifiers"),
        ({"layer_scale": True}, "layer_scale besides"),
    ],
)
def test_looks_that_do_not_fit(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(GRID_LOOKS, **changes)  # type: ignore[arg-type]


def test_numbers_of_looks() -> None:
    arch = GRID_LOOKS
    assert [(arch.size(k), arch.grid(k), arch.patches(k), arch.tokens(k)) for k in (3, 6)] == [
        (24, 3, 9, 10),
        (32, 4, 16, 17),
    ]
    assert (arch.before(3), arch.before(6), arch.width_before(3), arch.width_before(6)) == (0, 3, 0, 48)
    assert [TOKEN_LOOKS.before(k) for k in (3, 6, 12)] == [0, 3, 6]
    first = arch.cut((3,))
    assert first.looks == (Look(3, 24),) and first.heads == (3,) and first.image_size == 40
    assert SMALL.before(6) == 0 and SMALL.cut((3, 6)) == replace(SMALL, heads=(3, 6))


def test_k_is_one_that_was_trained() -> None:
    arch = replace(SMALL, heads=(3, 6, 12))
    assert arch.check_k(None) == 12 and arch.check_k(6) == 6
    checked = arch.check_k(np.int64(3))  # type: ignore[arg-type]
    assert checked == 3 and type(checked) is int
    with pytest.raises(HeadsError, match="k=True was not trained"):
        replace(SMALL, heads=(1, 2)).check_k(True)
    for k in (4, 0, 3.0, "3"):
        with pytest.raises(HeadsError, match="was not trained: choose from 3, 6, 12"):
            arch.check_k(k)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("heads", "text"),
    [((3, 4, 5), "3-5"), ((3, 4), "3, 4"), ((3, 6, 12), "3, 6, 12"), ((6,), "6"), (range(3, 13), "3-12")],
)
def test_heads_for_people(heads: tuple[int, ...], text: str) -> None:
    assert listing(heads) == text
