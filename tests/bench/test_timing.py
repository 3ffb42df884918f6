"""Times of calls that take turns."""

from functools import partial

import pytest

from hydrart.bench import timing


def test_contestants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE_S", 0)
    monkeypatch.setattr(timing, "UNTIMED_S", 0)
    monkeypatch.setattr(timing, "SHORT_S", 0)
    monkeypatch.setattr(timing, "LONG_S", 1e9)
    order: list[str] = []
    turns = timing.interleave({name: partial(order.append, name) for name in "abc"}, 0, rounds=4)
    assert "".join(order[:: 1 + timing.CALLS]) == "abc" + "bca" + "cab" + "abc"
    assert {name: len(of) for name, of in turns.items()} == dict.fromkeys("abc", 4)
    assert all(len(turn) == timing.CALLS for of in turns.values() for turn in of)
    order.clear()
    timing.interleave({"a": lambda: order.append("a")}, 0)
    assert len(order) == 3 * (1 + timing.CALLS), "three rounds at least"


def test_ratios_are_medians_over_rounds() -> None:
    ours, theirs = [[1.0, 1.0, 9.0], [2.0], [4.0, 4.0]], [[2.0, 50.0, 2.0], [6.0], [4.0, 4.0]]
    assert timing.ratio(theirs, ours) == 2.0
    times = timing.Times.of([[0.001, 0.003], [0.002]])
    assert (times.p50_ms, times.min_ms, times.calls) == (2.0, 1.0, 3) and times.p95_ms == pytest.approx(2.9)
