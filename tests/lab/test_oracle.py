"""The clairvoyant plan: without limits, with heat, with a battery."""

from dataclasses import replace

import pytest

from hydrart.governor.points import Jitter, Stage
from hydrart.lab.oracle import _stages, plan
from hydrart.lab.policies import names, run
from hydrart.lab.simulate import Goals, World
from tests.support.worlds import ACCURACY, BOARD, HOT, outcome, trace, world


def test_the_oracle_sees_what_comes() -> None:
    what = trace(t_s=[0, 20, 20.2, 40], slowdown=[1, 4, 1, 1])
    made = outcome("oracle", world(what=what, fps=10))
    assert made.miss_rate == 0 and set(made.k[200:202]) == {3} and set(made.k[:200]) == {5}


def test_the_oracle_drops_what_cannot_be_saved() -> None:
    made = outcome("oracle", world(what=trace(t_s=[0, 30], slowdown=[1, 10])))
    assert (made.k[:300] == 5).all() and (made.k[300:] == 0).all()


def test_the_oracle_plans_the_heat() -> None:
    what = trace(t_s=[0, 200, 400], ambient_c=[30, 36, 30])
    of = world(HOT, what, duration_s=600)
    made = outcome("oracle", of)
    assert made.throttled_s == 0 and made.over_target_c <= 0.3 and made.miss_rate == 0
    fixed = [outcome(f"fixed-{k}", of) for k in (3, 4, 5)]
    cool = max(f.accuracy for f in fixed if f.over_target_c <= 0)
    assert made.accuracy > cool + 0.01
    assert outcome("static-oracle", of).accuracy == pytest.approx(cool)


def test_the_oracle_spends_the_battery_to_the_end() -> None:
    device = replace(BOARD, capacity_wh=1.0)
    of = world(device, duration_s=600, until_h=1 / 6, charge=0.55)  # 3.3 W: between 3 and 4
    made = outcome("oracle", of)
    assert made.battery_end_h == pytest.approx(1 / 6, rel=0.01)
    assert outcome("fixed-3", of).accuracy < made.accuracy < outcome("fixed-4", replace_goal(of)).accuracy


def replace_goal(of: World) -> World:
    return World(replace(of.device, capacity_wh=None), of.trace, ACCURACY, Goals(10), 600, 1)


def test_the_oracle_leaves_the_next_frame_its_period() -> None:
    of = world(fps=20)  # 50 ms; k=5 takes 60
    assert set(plan(of)) == {4}
    patient = world(what=trace(t_s=[0], deadline_ms=[200]), fps=20)
    assert set(plan(patient)) == {4}, "k=5 would be in time, and make the next frame wait"
    slow = world(what=trace(t_s=[0], deadline_ms=[200], slowdown=[4]), fps=20)
    assert set(plan(slow)) == {3}, "80 ms: no k leaves the next frame its period, the smallest is in time"


def test_no_policy_is_better_than_the_oracle() -> None:
    what = trace(t_s=[0, 10, 12, 30, 33], slowdown=[1, 2, 1, 3, 1])
    of = World(replace(BOARD, jitter=Jitter(0.1, 0.02, 2.0)), what, ACCURACY, Goals(15), 60, 3)
    outcomes = run(of, names(of))
    assert all(made.accuracy <= outcomes["oracle"].accuracy for made in outcomes.values())


def test_a_plan_leaves_its_slack_and_not_more() -> None:
    device = replace(BOARD, capacity_wh=1.0)
    of = world(device, duration_s=600, until_h=1 / 6, charge=0.55)
    left = outcome("oracle", of).left[-1]
    assert 0 < left < 0.55 * 0.01


def test_slow_stages_are_merged_to_two() -> None:
    fast, slow = _stages((Stage(1, 3), Stage(2, 60), Stage(3, 80), Stage(4, 400)))
    assert fast == [Stage(1, 3)] and [stage.r_c_per_w for stage in slow] == [5, 4]
    assert slow[0].tau_s == pytest.approx((2 * 60 + 3 * 80) / 5) and slow[1].tau_s == 400
