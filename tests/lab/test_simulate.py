"""Traces, the simulated device, the rivals, the clairvoyant, and the two commands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hydrart.device.profiles import Device, SensorNames
from hydrart.errors import ProfileError, SettingError
from hydrart.governor.points import Jitter, Stage, Thermal
from hydrart.lab.accuracy import model_accuracy
from hydrart.lab.policies import Planned, names, run
from hydrart.lab.simulate import Goals, Outcome, World, simulate
from hydrart.lab.trace import Trace, load_trace
from hydrart.resources import bundled
from tests.support.commands import call, good, json_lines, sentence
from tools import traces

KEYS = """policy frames missed dropped miss_rate accuracy energy_j throttled_s over_target_c_s switches_per_min
    settle_frames battery_end_h decision_us_p50 decision_us_p99"""
ACCURACY = {3: 0.6, 4: 0.7, 5: 0.75}
BOARD = Device(
    name="board",
    description="",
    latency_ms={3: 20.0, 4: 40.0, 5: 60.0},
    power_w={3: 5.0, 4: 6.0, 5: 7.0},
    idle_w=2.0,
    jitter=Jitter(0.0, 0.0, 1.0),
    thermal=None,
    capacity_wh=None,
    sensors=SensorNames(),
)
HOT = replace(BOARD, thermal=Thermal(30, (Stage(2, 3), Stage(6, 60)), throttle_c=70, throttle_x=2))
NOTHING = Trace("nothing", {"t_s": np.array([0.0])})


def trace(**columns: list[float]) -> Trace:
    return Trace("test", {name: np.array(values, float) for name, values in columns.items()})


def world(device: Device = BOARD, what: Trace = NOTHING, duration_s: float = 60, **goals: Any) -> World:
    charge = goals.pop("charge", 1.0)
    return World(device, what, ACCURACY, Goals(**({"fps": 10} | goals)), duration_s, 1, charge)


def outcome(name: str, of: World) -> Outcome:
    return run(of, (name,))[name]


# traces


def test_a_trace_holds_until_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("t_s,slowdown,load_w\n0,1,0\n10,2.5,3\n")
    loaded = load_trace(path)
    times = np.array([0, 9.9, 10, 500.0])
    assert loaded.at(times, "slowdown").tolist() == [1, 1, 2.5, 2.5]
    assert loaded.slowdowns(times, (3, 9))[:, 1].tolist() == [1, 1, 2.5, 2.5]
    assert loaded.at(times, "ambient_c", 25.0).tolist() == [25] * 4 and loaded.at(times, "faults").tolist() == [0] * 4


def test_slowdowns_of_each_k_and_between(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("t_s,slowdown_k3,slowdown_k5\n0,1,3\n")
    assert load_trace(path).slowdowns(np.zeros(1), (2, 3, 4, 5, 9)).tolist() == [[1, 1, 2, 3, 3]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no column t_s"),
        ("t_s,slowdown\n", "has no rows"),
        ("t_s,slow_down\n0,1\n", "did you mean slowdown?"),
        ("t_s,slowdown_k0\n0,1\n", "unknown column"),
        ("slowdown\n1\n", "has no column t_s"),
        ("t_s,slowdown,slowdown\n0,1,1\n", "a column twice"),
        ("t_s,slowdown,slowdown_k3\n0,1,1\n", "use one or the other"),
        ("t_s,slowdown\n0\n", "line 2: 1 values for 2 columns"),
        ("t_s,slowdown\n0,\n", "line 2: slowdown is missing"),
        ("t_s,slowdown\n0,nan\n", "slowdown is 'nan'"),
        ("t_s,slowdown\n0,inf\n", "slowdown is 'inf'"),
        ("t_s,slowdown\n0,-1\n", "slowdown is '-1'"),
        ("t_s,slowdown\n0,fast\n", "slowdown is 'fast'"),
        ("t_s,load_w\n0,-1\n", "load_w is '-1'"),
        ("t_s,deadline_ms\n0,0\n", "deadline_ms is '0'"),
        ("t_s,slowdown\n-1,1\n", "t_s is '-1'"),
        ("t_s,slowdown\n0,1\n5,1\n5,2\n", "does not rise after 5"),
        ("t_s,slowdown\n9,1\n5,1\n", "does not rise after 9"),
    ],
)
def test_traces_that_are_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    said = sentence("simulate", "--device", "raspberrypi5", "--trace", path, "--duration", 1)
    assert words in said and str(path) in said


def test_a_trace_of_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="is no CSV"):
        load_trace(path)


def test_the_traces_that_ship_are_those_of_the_script(tmp_path: Path) -> None:
    shipped = bundled("devices/traces", ".csv")
    traces.write(tmp_path, seed=1)
    for name in traces.TRACES:
        assert shipped[name].read_bytes() == (tmp_path / f"{name}.csv").read_bytes()
        load_trace(name)
    traces.write(tmp_path, seed=2)
    assert shipped["bursts"].read_bytes() != (tmp_path / "bursts.csv").read_bytes()


# the device


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


# policies


def test_the_governor_gets_near_the_oracle_without_trouble() -> None:
    of = world(replace(BOARD, jitter=Jitter(0.03, 0.0, 1.0)), duration_s=120, fps=20)
    best, real = outcome("oracle", of), outcome("governor", of)
    assert best.miss_rate == 0 and best.accuracy == pytest.approx(0.7)
    assert real.accuracy > 0.69


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


def test_what_a_profile_does_not_tell_is_not_known(tmp_path: Path) -> None:
    profile = tmp_path / "plain.yaml"
    profile.write_text("name: plain\ndescription: x\nlatency_ms: {3: 2.0, 12: 18.0}\n")
    arguments = ("simulate", "--device", profile, "--trace", "quiet", "--fps", 60, "--duration", 20)
    assert "J" not in good(*arguments).stdout
    (line,) = json_lines(good(*arguments, "--json").stdout)
    assert line["energy_j"] is None and line["throttled_s"] is None and line["over_target_c_s"] is None


def test_every_policy_drives_every_trouble() -> None:
    what = trace(t_s=[0, 10, 20], slowdown=[1, 3, 1], ambient_c=[30, 45, 30], load_w=[0, 1, 0], faults=[0, 0.5, 0])
    device = replace(HOT, capacity_wh=1.0, jitter=Jitter(0.1, 0.02, 2.0))
    of = world(device, what, duration_s=40, until_h=0.2)
    outcomes = run(of, names(of))
    assert list(outcomes) == list(names(of)) and len(outcomes) == 9 + 3
    for name, made in outcomes.items():
        line = made.as_dict(of)
        assert list(line) == KEYS.split() and line["policy"] == name
        assert line["frames"] == 400 and 0 <= line["dropped"] <= line["missed"] <= 400
        assert 0 <= line["accuracy"] <= 0.75


def test_equal_seeds_give_equal_runs() -> None:
    of = world(replace(HOT, jitter=Jitter(0.1, 0.02, 2.0)), duration_s=60)
    first, second = (outcome("governor", of) for _ in range(2))
    assert (first.k == second.k).all()


def test_settling() -> None:
    of = world(what=trace(t_s=[0, 20, 40], slowdown=[1, 3, 1]))
    ks = [5] * 203 + [3] * 197 + [3] * 5 + [5] * 195
    assert simulate(of, Planned(ks), "x").as_dict(of)["settle_frames"] == 4
    assert outcome("fixed-3", world()).as_dict(world())["settle_frames"] is None


# commands


def test_simulate_prints_a_line_for_each_policy(tmp_path: Path) -> None:
    args = ("--device", "raspberrypi5", "--trace", "bursts", "--duration", 20, "--accuracy", "hydravit-b")
    lines = json_lines(good("simulate", *args, "--policy", "all", "--json").stdout)
    assert [line["policy"] for line in lines][:3] == ["governor", "oracle", "static-oracle"]
    assert lines[-1]["policy"] == "fixed-12" and all(list(line) == KEYS.split() for line in lines)
    shown = good("simulate", *args).stdout.splitlines()
    assert shown[0].startswith("policy ") and shown[1].startswith("governor ") and len(shown) == 2


def test_accuracies(tmp_path: Path) -> None:
    shipped, paper = model_accuracy(None), model_accuracy("hydravit-b")
    assert list(shipped) == list(paper) == list(range(3, 13)) and 0.5 < shipped[3] < shipped[11]
    assert (paper[3], paper[6], paper[12]) == (0.7265, 0.8008, 0.8177)
    path = tmp_path / "a.yaml"
    for text, words in {
        "{}": "is empty",
        "3: 200": "above 100",
        "three: 1": "whole numbers",
        "3: x": "positive",
    }.items():
        path.write_text(text)
        args = ("--device", "raspberrypi5", "--trace", "quiet", "--accuracy", path)
        assert words in sentence("simulate", *args)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--device raspberrypi5 --trace nowhere", "choose from"),
        ("--device raspberypi5 --trace quiet", "did you mean raspberrypi5"),
        ("--device raspberrypi5 --trace quiet --policy governer", "did you mean governor"),
        ("--device raspberrypi5 --trace quiet --max-temp 20", "not above the ambient"),
    ],
)
def test_simulate_what_is_not_there(args: str, words: str) -> None:
    assert words in sentence("simulate", *args.split(), "--duration", "1")


@pytest.mark.parametrize(
    "option", ["--fps 0", "--duration -1", "--charge 2", "--until 0", "--max-temp nan", "--seed x"]
)
def test_simulate_wrong_usage(option: str) -> None:
    assert call("simulate", "--device", "generic", "--trace", "quiet", *option.split()).exit_code == 2


def test_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    args = ("simulate", "--device", "raspberrypi5", "--trace", "sun", "--duration", 10, "--plot")
    good(*args, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "name a file in a folder that exists" in sentence(*args, tmp_path / "nowhere/x.png")


def entry(i: int, heads: int, infer_ms: float, **other: Any) -> str:
    frame = {"frame": i, "t_capture": 100 + i / 10, "k": heads, "preprocess_ms": 1.0, "infer_ms": infer_ms}
    late = {"age_ms": infer_ms + 2, "deadline_ms": 100.0, "missed": infer_ms > 98, "dropped": 0}
    return json.dumps(frame | late | other)


def test_a_log_can_be_replayed(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [entry(i, 6, 150.0 if 100 <= i < 110 else 50.0) for i in range(300)]
    path.write_text("\n".join([*lines, json.dumps({"summary": {}})]) + "\n")
    was, governor = json_lines(good("replay", path, "--json").stdout)
    assert list(was) == list(governor) == KEYS.split() and was["policy"] == "as it was"
    assert (was["frames"], was["missed"], was["dropped"]) == (300, 10, 0)
    assert governor["frames"] == 300 and governor["missed"] < 10, "smaller ks were in time"
    names = [line["policy"] for line in json_lines(good("replay", path, "--policy", "all", "--json").stdout)]
    assert "oracle" in names and "fixed-12" in names
    assert good("replay", path, "--device", "raspberrypi5").stdout.splitlines()[1].startswith("as it was")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds 0 frames"),
        (entry(0, 3, 5), "holds 1 frames"),
        ("nonsense", "is no log"),
        ("[" * 100_000, "is no log"),
        (entry(0, 3, 5) + "\n" + entry(0, 3, 5), "not sorted by time"),
        (entry(0, 3, -5) + "\n" + entry(1, 3, 5), "line 1: infer_ms is '-5'"),
        (entry(0, 3, 5, k="x") + "\n" + entry(1, 3, 5), "line 1: k is 'x'"),
        (entry(0, 3, 5, k=0) + "\n" + entry(1, 3, 5), "without latency or k"),
        (entry(0, 3, 5, age_ms=float("nan")) + "\n" + entry(1, 3, 5), "age_ms is 'nan'"),
    ],
)
def test_logs_that_are_none(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    assert words in sentence("replay", path)


def test_a_real_run_can_be_replayed(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(good("run", "--source", "demo", "--weights", weights, "--max-frames", 20, "--json").stdout)
    was, governor = json_lines(good("replay", path, "--json").stdout)
    assert was["frames"] - was["dropped"] == 20 and governor["policy"] == "governor"
