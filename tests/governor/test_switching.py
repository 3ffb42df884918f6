"""When k may rise: waits after switches, and longer ones after climbs that failed."""

from hydrart.governor.parameters import DEFAULTS
from hydrart.governor.switching import Switching

P = DEFAULTS
FRAME_MS = 100.0
DWELL_S = P.patience * FRAME_MS / 1000
TRIAL_S = P.memory * FRAME_MS / 1000
A_LITTLE_S = 0.01


def wait_s(of: Switching, now: float, k: int) -> float:
    """Seconds until k may run, to a hundredth."""
    return next(i / 100 for i in range(10_000) if k <= of.ceiling(now + i / 100))


def test_the_first_k_and_every_smaller_one_need_not_wait() -> None:
    of = Switching(P)
    assert of.current is None and of.ceiling(0) >= 12
    of.switch(0, 6, FRAME_MS)
    assert of.current == 6 and of.ceiling(0) >= 6


def test_after_a_switch_the_next_rise_waits() -> None:
    of = Switching(P)
    of.switch(0, 6, FRAME_MS)
    assert of.ceiling(0) >= 7, "no switch yet"
    of.switch(1, 7, FRAME_MS)
    assert abs(wait_s(of, 1, 8) - DWELL_S) <= 0.01 and of.ceiling(1) == 7


def test_a_climb_that_fails_waits_twice_as_long_each_time() -> None:
    of, now, waits = Switching(P), 0.0, []
    of.switch(now, 6, FRAME_MS)
    for _ in range(8):
        now += 1
        of.switch(now, 8, FRAME_MS)
        now += TRIAL_S / 2
        of.switch(now, 6, FRAME_MS)
        waits.append(wait_s(of, now, 8))
        assert wait_s(of, now, 7) <= DWELL_S + 0.01, "below the k that failed nothing else waits"
        assert wait_s(of, now, 9) == waits[-1], "above it all"
        now += waits[-1]
    assert abs(waits[0] - 2 * DWELL_S) <= 0.01 and abs(waits[1] - 4 * DWELL_S) <= 0.01
    assert abs(waits[-1] - P.horizon_s) <= 0.01, "not for ever"


def test_a_climb_that_holds_forgives_those_that_failed() -> None:
    of = Switching(P)
    of.switch(0, 6, FRAME_MS)
    of.switch(1, 8, FRAME_MS)
    of.switch(1.5, 6, FRAME_MS)
    of.switch(10, 8, FRAME_MS)
    of.switch(10 + TRIAL_S + A_LITTLE_S, 8, FRAME_MS)
    of.switch(20, 6, FRAME_MS)
    assert wait_s(of, 20, 8) <= DWELL_S + 0.01


def test_relief_forgives_too() -> None:
    of = Switching(P)
    of.switch(0, 6, FRAME_MS)
    for now in (1, 10, 30):
        of.switch(now, 8, FRAME_MS)
        of.switch(now + 0.5, 6, FRAME_MS)
    assert wait_s(of, 30.5, 8) > 1
    of.forgive()
    assert wait_s(of, 30.5, 8) <= DWELL_S + 0.01


def test_a_frame_counts_as_a_second_at_most() -> None:
    of = Switching(P)
    of.switch(0, 6, float("inf"))
    of.switch(0, 7, float("inf"))
    assert wait_s(of, 0, 8) == P.patience
