"""How many tokens each block merges, and what that saves."""

from typing import Any

import numpy as np
import pytest

from hydrart.errors import SettingError
from hydrart.format.architecture import Architecture
from hydrart.format.merging import schedule

ARCH = Architecture(image_size=32, patch=4, depth=6, head_dim=16, heads=(3, 5, 6), classes=10)  # 65 tokens


def test_one_r_is_for_every_block_and_a_list_has_one_for_each() -> None:
    assert schedule(6, 65, 6) == (6,) * 6
    number: Any = np.int64(6)
    assert schedule(number, 65, 6) == (6,) * 6
    assert schedule([6, 0, 3, 0, 0, 1], 65, 6) == (6, 0, 3, 0, 0, 1)


@pytest.mark.parametrize("none", [0, [0] * 6])
def test_without_merging_there_is_no_schedule(none: Any) -> None:
    assert schedule(none, 65, 6) == ()


def test_one_r_for_all_merges_half_of_what_is_left() -> None:
    """As in the paper: 197 tokens at r=16 are 21 in the last block, which merges 10 of them."""
    assert schedule(16, 197, 12) == (16,) * 11 + (10,)
    assert schedule(32, 65, 6) == (32, 16, 8, 4, 2, 1)
    assert schedule(1, 3, 3) == (1, 0, 0)


@pytest.mark.parametrize(
    ("merge", "words"),
    [
        (33, "merge=33 is more than half of the 65 tokens of block 0: pass at most 32"),
        ([6, 30, 0, 0, 0, 0], "merge=30 is more than half of the 59 tokens of block 1: pass at most 29"),
        (-1, "merge=-1 is no number of tokens: pass a whole number from 0"),
        (True, "merge=True is no number of tokens"),
        (1.5, "merge=1.5 is no number of tokens: pass a whole number from 0, or one for each of the 6 blocks"),
        ("6", "merge='6' is no number of tokens"),
        (None, "merge=None is no number of tokens"),
        ([6, 6], "or one for each of the 6 blocks"),
        ([6, 6, 6, 6, 6, 0.5], "merge=0.5 is no number of tokens"),
    ],
)
def test_a_merge_that_does_not_fit(merge: Any, words: str) -> None:
    with pytest.raises(SettingError) as caught:
        ARCH.merges(3, merge)
    assert words in str(caught.value)


def test_multiply_accumulates_by_hand() -> None:
    p, tokens, total = 80, 65, 64 * 48 * 80 + 80 * 10
    for _ in range(6):
        total += tokens * 4 * p * p + 2 * tokens * tokens * p  # qkv and projection; the two products of attention
        tokens -= 6
        total += tokens * 8 * p * p  # the MLP
    assert ARCH.macs(5, 6) == total == ARCH.macs(5, (6,) * 6)
    assert ARCH.macs(5, 0) == ARCH.macs(5) > total


@pytest.mark.parametrize(("k", "millions"), [(5, 23.9), (6, 33.8)])
def test_multiply_accumulates_of_the_shipped_shape(k: int, millions: float) -> None:
    assert round(ARCH.macs(k, 6) / 1e6, 1) == millions
