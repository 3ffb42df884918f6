"""The last minute, for displays."""

import numpy as np
import pytest

import hydrart
from hydrart.output.history import History
from hydrart.prediction import Prediction
from hydrart.stream.result import Result


def made_up(k: int, dropped: int) -> Result:
    prediction = Prediction(k, np.ones(1, np.float32), ("x",), 1.0, 2.0)
    return Result(0, 0.0, 0.0, prediction, 3.0, 4.0, None, dropped, hydrart.Decision(k, "fixed"))


def test_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("hydrart.output.history.time.monotonic", lambda: clock[0])
    history = History()
    assert history.rates() == {"camera": None, "processed": None, "dropped": None}
    for i in range(100):
        history.add(made_up(3 + (i >= 50), dropped=2))
        clock[0] += 0.1
    assert list(history.ks) == [3] * 5 + [4] * 5 and history.dropped == 200
    rates = history.rates()
    assert rates == {name: pytest.approx(rate, rel=0.06) for name, rate in zip(rates, (30, 10, 20), strict=True)}
    clock[0] += 3
    history.add(made_up(9, 0))
    assert list(history.ks)[-4:] == [None, None, None, 9]
    clock[0] += 1e6
    history.add(made_up(5, 0))
    assert list(history.ks) == [None] * 59 + [5]
