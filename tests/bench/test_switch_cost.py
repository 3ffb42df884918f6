"""The cost of switching k."""

from collections import Counter
from itertools import pairwise

from hydrart.bench import switch_cost


def test_switches_go_to_each_k_equally_often() -> None:
    calls: list[int] = []
    found = switch_cost.measure(calls.append, (3, 6, 12), 0)
    targets = [k for before, k in pairwise(calls) if before != k]
    assert max(Counter(targets).values()) - min(Counter(targets).values()) <= 1
    assert found.switches == 3 * switch_cost.LEAST and set(found.by_k) == {3, 6, 12}
    assert found.first_p50 is not None and found.first_p95 is not None and 0 < found.first_p50 <= found.first_p95
    assert switch_cost.measure(calls.append, (3,), 0) == switch_cost.SwitchCost(0, None, None, {})
