"""The command that measures what half and twice of a parameter do: a short run, and the page made of it."""

from argparse import Namespace

import pytest

from hydrart.governor.parameters import DEFAULTS, described
from tools import sensitivity, sensitivity_page


def test_a_short_run() -> None:
    args = Namespace(trace=["quiet"], seed=[1], seconds=20.0, parameter=["miss_price"], processes=1)
    record = sensitivity.collect(args)
    assert record["run"] == {"traces": ["quiet"], "rates": [30, 15], "seeds": [1], "seconds": 20.0}
    assert 0 <= record["base"]["late"] < 0.1 and 0.7 < record["base"]["accuracy"] < 0.82
    assert list(record["changes"]) == ["miss_price"] and list(record["changes"]["miss_price"]) == [
        "half",
        "twice",
    ]
    lines = sensitivity_page.changes(record).splitlines()
    assert lines[0].startswith("as it is: ") and lines[1].startswith("miss_price ")


def record(late: float, accuracy: float, over_target_c_s: float) -> dict[str, object]:
    nothing = {"late": 0.0, "accuracy": 0.0, "over_target_c_s": 0.0}
    moved = {"late": late, "accuracy": accuracy, "over_target_c_s": over_target_c_s}
    changes = {name: {"half": nothing, "twice": nothing} for name in described(DEFAULTS)}
    changes["window"] = {"half": moved, "twice": nothing}
    what = {"traces": ["sun", "case"], "rates": [15], "seeds": [1], "seconds": 60.0}
    return {"run": what, "base": {"late": 0.01, "accuracy": 0.8, "over_target_c_s": 0.0}, "changes": changes}


def test_a_row_for_each_parameter() -> None:
    text = sensitivity_page.tables(record(0.0012, -0.0034, 2.4))
    (row,) = [line for line in text.splitlines() if line.startswith("| `window` | 800 frames | ")]
    assert "| +0.120, -0.340, +2 C s. A change of the scatter" in row and "| +0.000, +0.000. Rare tails" in row
    assert sum(line.startswith("| `") for line in text.splitlines()) == len(described(DEFAULTS))
    still = text[text.index("Neither half nor twice") :]
    assert "`window`" not in still and "`memory`" in still


@pytest.mark.parametrize(("late", "place"), [(0.0003, None), (0.0001, "by a fiftieth of a point"), (0.0, "anything")])
def test_what_moves_nothing(late: float, place: str | None) -> None:
    text = sensitivity_page.tables(record(late, 0.0, 0.0))
    lines = [line for line in text[text.index("Neither half nor twice") :].splitlines() if "`window`" in line]
    assert [place in line for line in lines if place] == ([True] if place else []) and len(lines) == (place is not None)
