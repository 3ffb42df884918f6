"""What drives a simulated device: the governor and those that it is compared with."""

from dataclasses import replace

import pytest

from hydrart.governor.battery import RESERVE
from hydrart.governor.points import Jitter
from hydrart.lab.policies import (
    _MAKERS,
    OVER_TARGET_C,
    TUNED,
    Alert,
    AlertConstants,
    Fixed,
    Ipa,
    Margin,
    Mean20,
    Planned,
    StepWise,
    names,
    run,
)
from hydrart.lab.simulate import Policy
from tests.support.worlds import BOARD, HOT, KEYS, outcome, trace, world


def test_the_governor_gets_near_the_oracle_without_trouble() -> None:
    of = world(replace(BOARD, jitter=Jitter(0.03, 0.0, 1.0)), duration_s=120, fps=20)
    best, real = outcome("oracle", of), outcome("governor", of)
    assert best.miss_rate == 0 and best.accuracy == pytest.approx(0.7)
    assert real.accuracy > 0.69


def test_every_policy_drives_every_trouble() -> None:
    what = trace(t_s=[0, 10, 20], slowdown=[1, 3, 1], ambient_c=[30, 45, 30], load_w=[0, 1, 0], faults=[0, 0.5, 0])
    device = replace(HOT, capacity_wh=1.0, jitter=Jitter(0.1, 0.02, 2.0))
    of = world(device, what, duration_s=40, until_h=0.2)
    outcomes = run(of, names(of))
    assert list(outcomes) == list(names(of)) and set(outcomes) > {*_MAKERS, "static-oracle"}
    assert [name for name in outcomes if name.startswith("fixed-")] == [f"fixed-{k}" for k in of.ks]
    for name, made in outcomes.items():
        line = made.as_dict(of)
        assert list(line) == KEYS.split() and line["policy"] == name
        assert line["frames"] == 400 and 0 <= line["dropped"] <= line["missed"] <= 400
        assert 0 <= line["accuracy"] <= 0.75


def drive(policy: Policy, latency_ms: float, frames: int, deadline_ms: float = 100.0) -> int | None:
    """The k after frames that all took so long."""
    k = None
    for i in range(frames):
        k = policy.choose(i / 10, deadline_ms, 0.0, i)
        policy.observe(i / 10, k or 3, latency_ms)
    return k


def test_fixed_and_planned() -> None:
    assert [Fixed(4).choose(i, 100, 0, i) for i in range(2)] == [4, 4]
    assert [Planned([5, 0, 3]).choose(i, 100, 0, i) for i in range(3)] == [5, None, 3]


def test_mean_20_moves_one_step_after_twenty_frames() -> None:
    policy = Mean20(world())
    assert drive(policy, 50, 20) == 3 and drive(policy, 50, 1) == 4, "below 0.7 of the deadline"
    assert drive(policy, 80, 25) == 4, "between 0.7 and 1"
    assert drive(policy, 120, 25) == 3


def test_margin_divides_the_deadline_by_1_3() -> None:
    of = world()
    assert Margin(of).choose(0, 60 * 1.3 + 0.1, 0, 0) == 5 and Margin(of).choose(0, 60 * 1.3 - 0.1, 0, 0) == 4
    assert Margin(of).choose(0, 60 * 1.3 + 0.1, 1, 0) == 4, "the frame waited"
    busy = Margin(of)
    busy.observe(0, 3, 40.0)  # twice as slow
    assert busy.choose(0, 100, 0, 0) == 3


def test_alert_is_less_sure_the_more_latencies_scatter() -> None:
    of = world(duration_s=1)
    quiet, wild = (Alert(of, TUNED) for _ in range(2))
    for i in range(200):
        quiet.observe(i, 4, 40.0)
        wild.observe(i, 4, 40.0 * (1 + 0.5 * (-1) ** i))
    assert quiet.choose(0, 66, 0, 0) == 5 and (wild.choose(0, 66, 0, 0) or 0) < 5


def test_alert_keeps_the_reserve_that_the_governor_keeps() -> None:
    of = world(replace(BOARD, capacity_wh=1.0), until_h=1.0)
    alert = Alert(of, AlertConstants())
    alert.sense(0, {"battery": RESERVE + 1e-6})
    assert alert.choose(0, 1000, 0, 0) == 3, "nothing is left but the reserve"
    alert.sense(0, {"battery": 1.0})
    assert alert.choose(0, 1000, 0, 0) == 3, "3600 J an hour are 1 W, and idling takes 2"
    alert.sense(0, {"battery": RESERVE})
    budget = alert._budget
    assert budget.per_frame(0) == 0
    alert.sense(0, {"battery": 0.5 + RESERVE})
    assert budget.per_frame(0) == pytest.approx(0.5 * 3600 / 3600 * 0.1)


def test_step_wise_and_ipa_come_down_in_the_heat() -> None:
    of = world(HOT)  # target 68
    step, ipa = StepWise(of), Ipa(of)
    for policy in (step, ipa):
        policy.sense(0, {"temp_c": 40.0})
        assert policy.choose(0, 100, 0, 0) == 5
    for second in range(3):
        step.sense(second, {"temp_c": 69.0})
        ipa.sense(second, {"temp_c": 74.0})
    assert step.choose(0, 100, 0, 0) == 3 and ipa.choose(0, 100, 0, 0) == 3
    step.sense(4, {"temp_c": 60.0})
    assert step.choose(0, 100, 0, 0) == 4, "one step a second"


def test_the_best_fixed_k_keeps_the_goals() -> None:
    of = world(HOT, trace(t_s=[0], ambient_c=[36.0]), 600)
    outcomes = run(of, ("static-oracle", "fixed-3", "fixed-4", "fixed-5"))
    assert outcomes["fixed-5"].over_target_c > OVER_TARGET_C
    assert outcomes["static-oracle"].over_target_c <= OVER_TARGET_C
    kept = [made for name, made in outcomes.items() if name != "static-oracle" and made.over_target_c <= OVER_TARGET_C]
    assert outcomes["static-oracle"].accuracy == max(made.accuracy for made in kept)
