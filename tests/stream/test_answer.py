"""Which frames are answered, and with which k."""

import itertools
import time
from collections.abc import Iterator

import hydrart
from hydrart.source.shot import Shot
from tests.support.sources import ENDLESS, Camera


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
