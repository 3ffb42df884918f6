"""Keeping a rate."""

import threading
import time

import numpy as np
import pytest

from hydrart.stream.pace import RateKeeper, RateLimit


def test_rate_keeper_counts_from_the_first_time() -> None:
    stop = threading.Event()
    rate = RateKeeper(200, stop)
    start = time.monotonic()
    assert all(rate.wait() for _ in range(21))
    assert time.monotonic() - start >= 20 / 200 * 0.99
    stop.set()
    assert not rate.wait()


@pytest.mark.parametrize(
    ("camera", "answers"), [(30, 15), (20, 15), (15.1, 15), (15, 15), (14, 14), (5, 5), (1000, 15)]
)
def test_a_rate_limit_thins_out_evenly(camera: float, answers: float) -> None:
    limit = RateLimit(15)
    rng = np.random.default_rng(0)
    times = [100 + i / camera + rng.uniform(0, 0.1 / camera) for i in range(int(60 * camera))]
    allowed = sum(map(limit.allows, times))
    assert abs(allowed - 60 * answers) <= 0.02 * 60 * answers + 2
    assert all(map(RateLimit(None).allows, times))
