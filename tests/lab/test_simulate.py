"""The simulated device: frames, heat, battery, luck and readings; how long a policy takes to settle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hydrart.errors import ProfileError, SettingError
from hydrart.governor.points import Jitter
from hydrart.lab.policies import Planned, run
from hydrart.lab.simulate import Goals, World, simulate
from tests.support.worlds import ACCURACY, BOARD, HOT, NOTHING, outcome, trace, world


def test_frames_in_time_and_late() -> None:
    fast, slow = outcome("fixed-3", world()), outcome("fixed-5", world(fps=20))
    assert fast.miss_rate == 0 and fast.accuracy == pytest.approx(0.6)
    assert fast.energy_j == pytest.approx(60 * (2 + 3 * 0.2))
    # 60 ms of 50: answered late, or replaced before it is taken
    assert slow.miss_rate == 1 and slow.accuracy == 0 and 0 < (slow.k == 0).sum() < 1200


def test_a_deadline_and_a_slowdown_of_the_trace() -> None:
    what = trace(t_s=[0, 30], slowdown=[1, 3], deadline_ms=[100, 50])
    made = outcome("fixed-3", world(what=what))
    assert made.missed[:300].sum() == 0 and made.missed[300:].all(), "60 ms of 50"


def test_heat_and_throttling() -> None:
    cool, hot = (outcome(f"fixed-{k}", world(HOT, trace(t_s=[0], ambient_c=[a]), 600)) for k, a in ((3, 30), (5, 36)))
    # 8 K/W times 2.6 W; 8 times 5 W is 40 above 36
    assert cool.temp_c[-1] == pytest.approx(30 + 8 * 2.6, abs=0.1) and cool.throttled_s == 0
    assert hot.throttled_s > 0 and 68 < hot.temp_c[-1] < 72 and hot.over_target_c > 0
    assert hot.missed.any(), "60 ms become 120 while it is throttled"


def test_a_battery_runs_empty() -> None:
    device = replace(BOARD, capacity_wh=0.1)
    made = outcome("fixed-3", world(device, duration_s=600))
    assert made.battery_end_h == pytest.approx(0.1 / 2.6, rel=0.01)
    assert made.missed[-1] and made.left[0] > 0.99
    lasting = outcome("fixed-3", world(device, duration_s=60))
    assert lasting.battery_end_h == pytest.approx(0.1 / 2.6, rel=0.01), "as it would go on"


def test_luck_is_the_same_for_all_and_another_with_another_seed() -> None:
    device = replace(BOARD, jitter=Jitter(0.1, 0.02, 2.0))
    one, two = (World(device, NOTHING, ACCURACY, Goals(10), 300, seed) for seed in (1, 2))
    again = World(device, NOTHING, ACCURACY, Goals(10), 300, 1)
    assert (one.latency_ms == again.latency_ms).all() and (one.latency_ms != two.latency_ms).any()
    factor = one.latency_ms[:, 0] / 20
    assert 0.01 < (factor > 1.9).mean() < 0.03 and np.median(factor) == pytest.approx(1, abs=0.02)


def test_what_cannot_be_simulated() -> None:
    with pytest.raises(ProfileError, match="has no latencies"):
        world(replace(BOARD, latency_ms={}))
    with pytest.raises(SettingError, match="has no battery"):
        world(until_h=1)
    with pytest.raises(SettingError, match="did you mean governor"):
        run(world(), ("governer",))


def test_equal_seeds_give_equal_runs() -> None:
    of = world(replace(HOT, jitter=Jitter(0.1, 0.02, 2.0)), duration_s=60)
    first, second = (outcome("governor", of) for _ in range(2))
    assert (first.k == second.k).all()


def test_settling() -> None:
    of = world(what=trace(t_s=[0, 20, 40], slowdown=[1, 3, 1]))
    ks = [5] * 203 + [3] * 197 + [3] * 5 + [5] * 195
    assert simulate(of, Planned(ks), "x").as_dict(of)["settle_frames"] == 4
    assert outcome("fixed-3", world()).as_dict(world())["settle_frames"] is None


def test_the_target_is_the_governors() -> None:
    of, own = world(HOT), world(HOT, max_temp_c=60)
    assert of.target_c == of.governor().max_temp_c == 68 and own.target_c == 60 and world().target_c is None


class Notes(Planned):
    """Notes what it senses."""

    def __init__(self, ks: list[int]) -> None:
        super().__init__(ks)
        self.times: list[float] = []
        self.sensed: list[dict[str, Any]] = []

    def sense(self, now: float, readings: Mapping[str, Any]) -> None:
        self.times.append(now)
        self.sensed.append(dict(readings))


def test_sensors_are_read_once_a_second_in_steps_and_with_faults() -> None:
    what = trace(t_s=[0, 100], load_w=[0, 1], faults=[0, 1])
    of = world(replace(HOT, capacity_wh=10.0), what, 200)
    notes = Notes([3] * of.frames)
    made = simulate(of, notes, "notes")
    assert np.allclose(np.diff(notes.times), 1.0, atol=0.2)
    true, wrong = notes.sensed[:100], notes.sensed[101:]
    for at, readings in zip(notes.times[1:100], true[1:], strict=True):
        frame = int(at * 10 + 0.5) - 1
        assert readings["temp_c"] == pytest.approx(made.temp_c[frame], abs=1.2)
        assert readings["battery"] == pytest.approx(made.left[frame], abs=0.011) and not readings["charging"]
        assert readings["power_w"] == pytest.approx(2.6, rel=0.1), "2 W idle and 3 W for a fifth of the time"
    assert any(not readings for readings in wrong), "missing"
    assert {85.0, 0.0} <= {readings.get("temp_c") for readings in wrong}, "stuck, and nothing"


def test_one_frame_in_the_slot() -> None:
    """A frame that another replaces is dropped; one that waits ages."""
    made = simulate(of := world(what=trace(t_s=[0], slowdown=[3.0])), Planned([4] * of.frames), "x")  # 120 ms of 100
    assert made.missed.all() and 0.1 < (made.k == 0).mean() < 0.25
    ages = made.age_ms[made.k > 0]
    assert ages.min() == pytest.approx(120) and 180 < ages.max() < 220
    patient = simulate(
        of := world(what=trace(t_s=[0], slowdown=[3.0], deadline_ms=[150])), Planned([4] * of.frames), "x"
    )
    assert (patient.missed[patient.k > 0] == (ages > 150)).all() and patient.missed[patient.k == 0].all()
    assert 0.2 < patient.missed.mean() < 0.9, "a frame that waited is late, a fresh one is not"


def test_scored_by_another_table() -> None:
    made = outcome("fixed-3", of := world())
    other = World(BOARD, NOTHING, {3: 0.9, 4: 0.95, 5: 1.0}, Goals(10), 60, 1)
    assert made.accuracy == pytest.approx(0.6) and made.scored(other).accuracy == pytest.approx(0.9)
    assert made.as_dict(of)["policy"] == "fixed-3"
