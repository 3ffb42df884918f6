"""The latency model alone: what it expects of each k after made-up frames, and how sure it is."""

import math
import random
from dataclasses import replace

import pytest

from hydrart.governor.latency import LatencyModel, _Sample
from hydrart.governor.parameters import DEFAULTS
from hydrart.governor.points import Jitter, OperatingPoint

P = DEFAULTS
KS = range(3, 13)
QUIET = Jitter(sigma=0.02, tail_p=0.0, tail_x=1.0)
POINTS = [OperatingPoint(k, work=k * k, latency_ms=float(k * k)) for k in KS]


def model(points: list[OperatingPoint] = POINTS, jitter: Jitter = QUIET) -> LatencyModel:
    return LatencyModel(points, jitter, P)


def feed(of: LatencyModel, k: int, slowdown: float, frames: int, start: float = 0.0, scatter: float = 0.0) -> float:
    """Frames at 15 a second; returns the time after them."""
    rng = random.Random(1)
    for i in range(frames):
        of.observe(start + i / 15, k, k * k * slowdown * math.exp(scatter * rng.gauss(0, 1)))
    return start + frames / 15


def test_before_the_first_frame_the_table_holds() -> None:
    assert [model().expected_ms(k) for k in (3, 12)] == pytest.approx([9, 144])
    assert model().slowdown == 1 and model().known and model().seen_at(3) == -math.inf


def test_without_a_table_the_work_scales_the_nearest_k_that_ran() -> None:
    unknown = model([OperatingPoint(k, work=k * k) for k in KS])
    assert not unknown.known and unknown.expected_ms(3) is None
    unknown.observe(0, 4, 32.0)
    assert unknown.known and unknown.expected_ms(8) == pytest.approx(128)
    unknown.observe(1, 8, 200.0)
    assert unknown.expected_ms(9) == pytest.approx(200 * 81 / 64), "8 is nearer than 4"
    assert unknown.seen_at(8) == 1


def test_a_lone_outlier_moves_nothing_and_the_next_one_confirms_it_by_the_lesser() -> None:
    of = model()
    now = feed(of, 6, 1.0, 50)
    of.observe(now, 6, 36 * 3.0)
    assert of.unsure and of.expected_ms(6) == pytest.approx(36, rel=0.01)
    of.observe(now, 6, 36 * 2.0)
    assert not of.unsure and of.expected_ms(6) == pytest.approx(72, rel=0.01)
    assert of.expected_ms(12) == pytest.approx(288, rel=0.01), "the load slows all ks alike"
    assert of.slowdown == pytest.approx(2, rel=0.01)


def test_an_outlier_that_is_followed_by_an_ordinary_frame_is_forgotten() -> None:
    of = model()
    now = feed(of, 6, 1.0, 50)
    of.observe(now, 6, 36 * 3.0)
    now = feed(of, 6, 1.0, 3, now)
    assert not of.unsure and of.expected_ms(6) == pytest.approx(36, rel=0.01)


def test_a_change_that_came_with_k_is_shared_with_k_and_its_neighbours() -> None:
    of = model()
    now = feed(of, 3, 1.0, 50)
    feed(of, 8, 2.0, 2, now)
    slowdown = {k: (of.expected_ms(k) or 0) / k**2 for k in KS}
    assert slowdown[8] == pytest.approx(2, rel=0.1)
    assert slowdown[8] > slowdown[9] > slowdown[10] > slowdown[11] > slowdown[12] + 0.01
    own = math.log(slowdown[8] / math.sqrt(2))
    shares = {k: math.log(slowdown[k] / math.sqrt(2)) / own for k in KS}
    assert shares == pytest.approx({k: 0.5 ** abs(k - 8) for k in KS}, abs=0.05), "each next one half as much"
    assert slowdown[7] == pytest.approx(slowdown[9])
    assert slowdown[3] == pytest.approx(math.sqrt(2), rel=0.02), "half of it may be the load's"


def test_a_k_that_is_late_again_and_again_is_found_out() -> None:
    of, now = model(), 0.0
    for _ in range(3):
        now = feed(of, 4, 1.0, 20, now)
        now = feed(of, 8, 3.0, 1, now)
    assert (of.expected_ms(8) or 0) > 64 * 2.5
    assert of.expected_ms(4) == pytest.approx(16, rel=0.05)


def test_large_ks_that_suffer_more_are_learnt() -> None:
    """Memory traffic: with a slow-down of m, k=10 takes exp(2 m)."""
    of, now, rng = model(), 0.0, random.Random(2)
    for _ in range(60):
        m = rng.choice([0.0, 0.4])
        for k, x in ((4, 1.0), (10, 2.0)):
            now = feed(of, k, math.exp(x * m), 4, now)
    now = feed(of, 4, math.exp(0.4), 4, now)
    busy = (of.expected_ms(10) or 0) / 100
    assert math.exp(0.6) < busy < math.exp(1.0), "more than the load alone, which is exp(0.4)"


def test_what_is_known_of_a_k_fades() -> None:
    of = model()
    now = feed(of, 3, 1.0, 50)
    now = feed(of, 8, 3.0, 2, now)
    feed(of, 3, 1.0, 15 * 5, now)
    soon = (of.expected_ms(8) or 0) / 64
    feed(of, 3, 1.0, 15 * int(P.forget_s), now)
    later = (of.expected_ms(8) or 0) / 64
    feed(of, 3, 1.0, 15 * 6 * int(P.forget_s), now + P.forget_s)
    assert soon > later > (of.expected_ms(8) or 0) / 64 == pytest.approx(1, abs=0.02)
    assert math.log(later) == pytest.approx(math.log(soon) * math.exp(-(P.forget_s - 5) / P.forget_s), rel=0.1)


def test_relief_forgets_what_others_did() -> None:
    of = model()
    now = feed(of, 3, 1.0, 50)
    feed(of, 8, 3.0, 2, now)
    before = of.expected_ms(8) or 0
    of.calmed()
    assert (of.expected_ms(8) or 0) < 0.7 * before


@pytest.mark.parametrize("spare", [0.5, 1.0, 2.0])
def test_beyond_what_was_seen_the_tail_is_paretos(spare: float) -> None:
    of = model()
    p = of.late(6, math.log(36) + spare)
    assert p == pytest.approx(math.exp(-P.tail_index * spare) / (P.memory + 1))


def test_late_is_the_share_of_errors_above() -> None:
    of = model()
    feed(of, 6, 1.0, 2 * P.window, scatter=0.05)
    late = [of.late(6, math.log(of.expected_ms(6) or 0) + spare) for spare in (-1.0, -0.05, 0.0, 0.05, 0.1, 0.5)]
    assert late[0] == 1 and late == sorted(late, reverse=True)
    assert late[1:5] == pytest.approx([0.84, 0.5, 0.16, 0.023], abs=0.06), "a Gaussian's, since these were"
    assert of.quantile(0.5) == pytest.approx(1, abs=0.02) and of.quantile(0.99) == pytest.approx(1.125, abs=0.03)


def test_after_a_slow_frame_the_next_is_feared_as_often_as_they_came_in_pairs() -> None:
    alone, pairs = model(), model()
    for of, slow in ((alone, 1), (pairs, 2)):
        now = 0.0
        for _ in range(20):
            now = feed(of, 6, 1.0, 10, now)
            now = feed(of, 6, 4.0, slow, now)
            now = feed(of, 6, 1.0, 4 - slow, now)
        now = feed(of, 6, 1.0, 20, now)
        of.observe(now, 6, 36 * 4.0)
    budget = math.log(36 * 2)
    assert alone.late(6, budget) < 0.2 and pairs.late(6, budget) > 0.5


def test_steps_of_the_load_are_feared_but_not_from_the_top_of_them() -> None:
    of, now = model(), 0.0
    for _ in range(10):
        now = feed(of, 6, 1.0, 40, now, 0.02)
        now = feed(of, 6, 2.0, 40, now, 0.02)
    top = of.late(6, math.log(of.expected_ms(6) or 0) + 0.4)
    feed(of, 6, 1.0, 40, now, 0.02)
    bottom = of.late(6, math.log(of.expected_ms(6) or 0) + 0.4)
    assert bottom > top + 0.005, "a tenth of a step in every eight frames"


def test_the_profiles_jitter_is_what_is_known_at_first() -> None:
    wild = model(jitter=Jitter(sigma=0.2, tail_p=0.1, tail_x=3.0))
    assert wild.quantile(0.99) == pytest.approx(3.0) and model().quantile(0.99) < 1.06
    longer = LatencyModel(POINTS, QUIET, replace(P, memory=200))
    assert longer.late(6, math.log(36) + 1) < model().late(6, math.log(36) + 1)


def test_a_sample_forgets_the_oldest() -> None:
    sample = _Sample(3, [5.0, 1.0, 3.0])
    sample.add(2.0)
    assert len(sample) == 3 and sample.smallest == 1.0 and sample.above(2.0) == 1 and sample.above(0.0) == 3
    sample.replace_last(7.0, 9.0)
    assert [sample.quantile(q) for q in (0.0, 0.5, 1.0)] == [1.0, 7.0, 9.0]
