"""Which frames are answered, and with which k."""

import itertools
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.source.shot import Shot
from hydrart.stream.answer import Answerer
from hydrart.stream.frame import Frame
from tests.support.sources import ENDLESS, Camera

NO_SENSORS = SimpleNamespace(new=dict, latest=dict)


def answerer(model: hydrart.Model, governor: hydrart.Governor, **settings: Any) -> Answerer:
    usual = {"may_drop": True, "read_ahead": False, "smooth": 1, "keep_frame": False}
    return Answerer(model, governor, NO_SENSORS, **(usual | settings))  # type: ignore[arg-type]


def frame(number: int, age_s: float = 0.0, **stamps: Any) -> Frame:
    """A frame that was captured, and could be taken, some time ago."""
    then = time.monotonic() - age_s
    picture = np.full((8, 8, 3), number, np.uint8)
    return Frame(picture, number, then, time.time() - age_s, 1.0, t_ready=then, **stamps)


def test_a_result_has_the_frame_s_stamps_and_the_model_s_answer(model: hydrart.Model) -> None:
    answer = answerer(model, hydrart.Governor(model.profile(), fps=20, k=5), keep_frame=True)
    taken = frame(3, age_s=0.03, stamp="mine")
    result = answer(taken, dropped=2)
    assert result is not None
    assert (result.frame, result.dropped, result.stamp, result.deadline_ms) == (3, 2, "mine", 50)
    assert (result.t_capture, result.t_wall) == (taken.t_capture, taken.t_wall) and result.picture is taken.picture
    assert result.age_ms >= 30 + result.prediction.infer_ms
    expected = model(taken.picture, 5)
    assert result.prediction.k == 5 and result.prediction.label == expected.label
    np.testing.assert_array_equal(result.prediction.probabilities, expected.probabilities)


def test_stale_frames_are_left_out_only_where_they_may_be(model: hydrart.Model) -> None:
    for may_drop in (True, False):
        governor = hydrart.Governor(model.profile(), fps=1000)
        governor.start_from(dict.fromkeys(model.heads, 500.0))
        result = answerer(model, governor, may_drop=may_drop)(frame(0, age_s=1.0), dropped=0)
        assert (result is None) == may_drop


def test_frames_that_were_read_ahead_are_as_old_as_their_preparation(model: hydrart.Model) -> None:
    answer = answerer(model, hydrart.Governor(model.profile(), fps=20, k=3), read_ahead=True)
    x = model.preprocess(np.zeros((8, 8, 3), np.uint8))
    results = [answer(frame(i, age_s=100.0, prepared=(x, 2.0)), dropped=0) for i in range(4)]
    captures = [result.t_capture for result in results if result is not None]
    assert captures == sorted(set(captures)) and len(captures) == 4
    assert all(result is not None and 2.0 < result.age_ms < 50_000 for result in results)
    assert {result.prediction.preprocess_ms for result in results if result is not None} == {2.0}


def test_after_a_loss_probabilities_are_averaged_anew(model: hydrart.Model) -> None:
    answer = answerer(model, hydrart.Governor(model.profile(), k=12), smooth=5)
    single = [model(frame(i).picture, 12).probabilities for i in (0, 200)]

    def probabilities(number: int) -> Any:
        result = answer(frame(number), dropped=0)
        assert result is not None
        return result.prediction.probabilities

    np.testing.assert_allclose(probabilities(0), single[0], atol=1e-6)
    np.testing.assert_allclose(probabilities(200), np.mean(single, axis=0), atol=1e-6)
    answer.forget()
    np.testing.assert_allclose(probabilities(200), single[1], atol=1e-6)


def test_each_switch_is_logged_with_its_reason(model: hydrart.Model, caplog: pytest.LogCaptureFixture) -> None:
    governor = hydrart.Governor(model.profile(), fps=20, k=5)
    answer = answerer(model, governor)
    with caplog.at_level("INFO", "hydrart.governor"):
        for k in (5, 5, 7):
            governor.fix(k)
            answer(frame(0), dropped=0)
    assert [record.getMessage() for record in caplog.records] == ["k 5 -> 7, fixed"]


def test_frames_that_take_long_to_decode_are_not_stale_for_ever(model: hydrart.Model) -> None:
    """Where even the smallest k is late the governor drops stale frames; all of these are old when they come."""

    class Slow(Camera):
        def shots(self) -> Iterator[Shot]:
            for shot in super().shots():
                yield Shot(shot.picture, time.monotonic() - 0.05)

    governor = hydrart.Governor(model.profile(), fps=100, deadline_ms=0.01)
    for k in model.heads:
        governor.observe(time.monotonic(), k, 5.0)
    with hydrart.Stream(Slow(ENDLESS), model, governor=governor) as stream:
        results = list(itertools.islice(stream, 5))
    assert {result.decision.reason for result in results} == {"overload"}
