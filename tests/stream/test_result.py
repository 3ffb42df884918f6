"""The answer to one frame, and its JSON line."""

from dataclasses import replace

import numpy as np
import pytest

import hydrart
from hydrart.json_lines import SCHEMA
from hydrart.prediction import Prediction
from hydrart.stream.result import Result

LABELS = tuple("abcdefg")
SCORES = np.array([0.1, 0.5, 0.05, 0.2, 0.05, 0.04, 0.06], np.float32)
RESULT = Result(
    frame=7,
    t_capture=1.23456789,
    t_wall=1e9 + 0.12345678,
    prediction=Prediction(4, SCORES, LABELS, preprocess_ms=1.23456, infer_ms=2.34567),
    capture_ms=3.45678,
    age_ms=9.87654,
    deadline_ms=100 / 3,
    dropped=2,
    decision=hydrart.Decision(4, "heat"),
    readings={"temp_c": 51.2345, "battery": 0.123456, "power_w": 6.78912, "charging": False},
)


def test_every_key_of_a_line_in_its_order() -> None:
    keys = "frame t_capture t_wall k label score top capture_ms preprocess_ms infer_ms age_ms deadline_ms missed "
    keys += "dropped temp_c battery power_w reason blind source_name schema"
    assert list(RESULT.as_dict()) == keys.split()


def test_the_values_of_a_line() -> None:
    line = RESULT.as_dict()
    assert (line["frame"], line["t_capture"], line["t_wall"], line["dropped"]) == (7, 1.234568, 1e9 + 0.123457, 2)
    assert (line["k"], line["label"], line["score"], line["reason"]) == (4, "b", 0.5, "heat")
    assert line["top"][:3] == [["b", 0.5], ["d", 0.2], ["a", 0.1]] and len(line["top"]) == 5
    times = [line[name] for name in ("capture_ms", "preprocess_ms", "infer_ms", "age_ms", "deadline_ms")]
    assert times == [3.457, 1.235, 2.346, 9.877, 33.333]
    assert (line["temp_c"], line["battery"], line["power_w"]) == (51.23, 0.1235, 6.789)
    assert line["schema"] == SCHEMA


def test_what_is_unknown_is_null() -> None:
    line = replace(RESULT, readings={}, deadline_ms=None).as_dict()
    assert [name for name, value in line.items() if value is None] == [
        "deadline_ms",
        "temp_c",
        "battery",
        "power_w",
        "source_name",
    ]


@pytest.mark.parametrize(("deadline_ms", "missed"), [(None, False), (9.9, False), (9.8, True)])
def test_an_answer_after_its_deadline_is_missed(deadline_ms: float | None, missed: bool) -> None:
    result = replace(RESULT, deadline_ms=deadline_ms)
    assert result.missed is missed and result.as_dict()["missed"] is missed


def test_what_is_shown() -> None:
    assert repr(RESULT) == "Result(frame=7, 'b', score=0.500, k=4, age_ms=9.9, missed=False)"
