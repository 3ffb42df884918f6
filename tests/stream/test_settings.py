"""Settings of a wrong type are refused before anything long begins, by one sentence that names them."""

import inspect
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.stream import settings

WRONG: tuple[Any, ...] = ("x", b"x", {}, [], -1, object(), np.zeros(2), math.nan)
NUMBERS = ("fps", "k", "min_k", "max_k", "max_temp_c", "until_h", "miss_price", "device")  # other rooms check these


def long(ks: Sequence[int]) -> Sequence[int]:
    pytest.fail("nothing runs before the settings are checked")


@pytest.mark.parametrize("name", [name for name in inspect.signature(hydrart.Stream).parameters if name != "model"])
def test_a_wrong_type_is_named(name: str, model: hydrart.Model) -> None:
    for value in WRONG:
        if name == "source" and isinstance(value, str | list | np.ndarray):
            continue  # a path, and iterables
        if name in ("min_k", "max_k") and isinstance(value, int):
            continue  # a bound that bounds nothing, and one that leaves nothing
        given: dict[str, Any] = {"source": [], "progress": long, name: value}
        with pytest.raises(hydrart.HydrartError) as info:
            hydrart.Stream(given.pop("source"), model, **given)
        expected = {"device": "device|x is neither"}.get(name, name)
        assert str(info.value).startswith(tuple(expected.split("|"))), (name, value, str(info.value))
        assert "\n" not in str(info.value)


def test_every_setting_has_a_rule() -> None:
    named = set(inspect.signature(hydrart.Stream).parameters) - {"source", "model", *NUMBERS}
    assert named == settings._RULES.keys()


@pytest.mark.parametrize(
    "given",
    [
        {"wait_s": 0},
        {"wait_s": math.inf},
        {"patience_s": math.inf},
        {"smooth": np.int64(2)},
        {"smooth": 2.0},
        {"frames": "all", "keep_frame": True},
        {"on_event": print, "warn": print, "on_wait": lambda: None},
    ],
)
def test_right_settings_are_taken(given: dict[str, Any], model: hydrart.Model) -> None:
    with hydrart.Stream([], model, measure=False, **given) as stream:
        assert list(stream) == []
