"""Small worlds for the laboratory's tests: a board of three ks, with or without heat, without noise; a log."""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from hydrart.device.profiles import Device, SensorNames
from hydrart.governor.points import Jitter, Stage, Thermal
from hydrart.lab.policies import run
from hydrart.lab.simulate import Goals, Outcome, World
from hydrart.lab.trace import Trace

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


def entry(i: int, heads: int, infer_ms: float, **other: Any) -> str:
    """Return a log's line for frame i. Frames are a tenth of a second apart."""
    frame = {"frame": i, "t_capture": 100 + i / 10, "k": heads, "preprocess_ms": 1.0, "infer_ms": infer_ms}
    late = {"age_ms": infer_ms + 2, "deadline_ms": 100.0, "missed": infer_ms > 98, "dropped": 0}
    return json.dumps(frame | late | other)
