"""The parts of hydrart bench that measure."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hydrart
from hydrart.bench import idle, machine, memory, peak, save, switching, timing
from hydrart.bench.contest import agreement, contest
from hydrart.bench.peers import PEERS, make_peer
from hydrart.codegen import isa
from hydrart.device.profiles import load_device
from hydrart.errors import ProfileError, SettingError
from hydrart.format.layout import PRECISIONS
from hydrart.format.reader import WeightFile
from tests.support.benching import ARCH, needs
from tests.support.commands import TINY, Make
from tests.support.networks import make_file
from tools.mca import loops

FloatArray = NDArray[np.float32]

# peak and work


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_peak_is_plausible(precision: str, threads: int) -> None:
    found = peak.measure(precision, threads, 0.05)
    assert 0.2 < found.gops < 100_000 * threads and found.threads == threads
    assert (found.isa, found.dot) == (isa.choose().name, isa.choose().dot(precision))


INSTRUCTIONS = {
    "fma": "vfmadd",
    "maddubs": "vpmaddubsw",
    "vnni": "vpdpbusd",
    "dpbf16": "vdpbf16ps",
    "tdpbf16": "tdpbf16ps",
    "tdpbusd": "tdpbusd",
    "sdot": "sdot",
    "bfmmla": "bfmmla",
    "smmla": "smmla",
}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_peak_s_loop_stays_in_registers(precision: str) -> None:
    here = isa.choose()
    dot = here.dot(precision)
    (loop,) = loops(peak.assembly(precision), f"hydrart.{here.name}.peak.{dot}")
    instruction = "fmla" if here.arm and dot == "fma" else INSTRUCTIONS[dot]
    sums = 4 if dot in isa.TILE_DOTS else here.rows * here.vectors
    products = [line for line in loop if instruction in line]
    assert len(products) == 4 * sums, "every product is computed"
    assert not any("(" in line or "[" in line for line in products), "no operand comes from memory"
    assert not any("rsp" in line or "[sp" in line for line in loop), "nothing is spilled"


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 3])
def test_needed_products_are_those_of_the_matrices(k: int, depth: int) -> None:
    arch = replace(ARCH, depth=depth)
    p, n = arch.width(k), arch.tokens

    def product(rows: int, inner: int, columns: int) -> int:
        return rows * inner * columns

    total = product(n - 1, arch.patch_inputs, p) + product(1, p, arch.classes)
    for i in range(depth):
        alive = 1 if i == depth - 1 else n  # tokens that go on
        total += product(alive, p, p) + 2 * product(n, p, p)  # q; k and v
        total += k * (product(alive, arch.head_dim, n) + product(alive, n, arch.head_dim))
        total += product(alive, p, p) + product(alive, p, 4 * p) + product(alive, 4 * p, p)
    assert peak.needed_macs(arch, k) == total < arch.macs(k)


# times, switches, waiting


def test_contestants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PAUSE_S", 0)
    monkeypatch.setattr(timing, "WARM_S", 0)
    monkeypatch.setattr(timing, "SHORT_S", 0)
    monkeypatch.setattr(timing, "LONG_S", 1e9)
    order: list[str] = []
    turns = timing.interleave({name: partial(order.append, name) for name in "abc"}, 0, rounds=4)
    assert "".join(order[:: 1 + timing.CALLS]) == "abc" + "bca" + "cab" + "abc"
    assert {name: len(of) for name, of in turns.items()} == dict.fromkeys("abc", 4)
    assert all(len(turn) == timing.CALLS for of in turns.values() for turn in of)
    order.clear()
    timing.interleave({"a": lambda: order.append("a")}, 0)
    assert len(order) == 3 * (1 + timing.CALLS), "three rounds at least"


def test_ratios_are_medians_over_rounds() -> None:
    ours, theirs = [[1.0, 1.0, 9.0], [2.0], [4.0, 4.0]], [[2.0, 50.0, 2.0], [6.0], [4.0, 4.0]]
    assert timing.ratio(theirs, ours) == 2.0
    times = timing.Times.of([[0.001, 0.003], [0.002]])
    assert (times.p50_ms, times.min_ms, times.calls) == (2.0, 1.0, 3) and times.p95_ms == pytest.approx(2.9)


def test_switches_go_to_each_k_equally_often() -> None:
    calls: list[int] = []
    found = switching.measure(calls.append, (3, 6, 12), 0)
    targets = [k for before, k in pairwise(calls) if before != k]
    assert max(Counter(targets).values()) - min(Counter(targets).values()) <= 1
    assert found.switches == 3 * switching.LEAST and set(found.by_k) == {3, 6, 12}
    assert found.first_p50 is not None and found.first_p95 is not None and 0 < found.first_p50 <= found.first_p95
    assert switching.measure(calls.append, (3,), 0) == switching.Switching(0, None, None, {})


def test_waiting_costs_nothing() -> None:
    frames: list[int] = []
    found = idle.measure(lambda: frames.append(0), 5, 100, 0.3)
    assert found.k == 5 and len(frames) >= 2 and found.reached_fps <= 101
    assert found.waiting_percent is not None and found.waiting_percent < 50


def test_who_cannot_keep_up_never_waits() -> None:
    found = idle.measure(lambda: sum(range(100_000)), 5, 1e6, 0.05)
    assert found.waiting_percent is None and found.reached_fps < 1e6 and found.cpu_percent > 0


# peers


def contested(path: Path, peers: list[Any], k: int = 3) -> tuple[list[Any], list[str]]:
    model = hydrart.load(path, threads=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    told: list[str] = []
    times, speedup, results = contest(model, k, peers, x, 0, 1, lambda text: None, told.append)
    assert times.min_ms > 0 and speedup is None
    return results, told


def test_one_thread_takes_its_turns(make_weights: Make) -> None:
    path = make_weights(TINY)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    times, speedup, peers = contest(hydrart.load(path, threads=2), 3, [], x, 0, 1, lambda text: None, lambda text: None)
    assert times.min_ms > 0 and speedup and not peers


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("ours", PRECISIONS)
def test_peers_agree_and_are_timed(name: str, ours: str, make_weights: Make) -> None:
    needs(name)
    path = make_weights(TINY, ours)
    (result,), told = contested(path, [make_peer(name, WeightFile(path))])
    assert result.agrees and not told and result.executed == "fp32" and result.version
    assert result.ratio and result.times and result.prepare_ms > 0 and result.error < (1e-3 if ours == "fp32" else 0.2)


class Stranger:
    """A peer whose answer is made up."""

    name, version, precision, executed, threads, plain = "stranger", "1", "fp32", "fp32", 1, False

    def __init__(self, answer: Callable[[FloatArray], FloatArray]) -> None:
        self._answer = answer

    def prepare(self, k: int) -> Callable[[FloatArray], FloatArray]:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x[:, 0, 0, :1].repeat(10, 1), "relative error"),
        (lambda x: np.zeros((1, 10), np.float32), "relative error 1.0e+00)"),
        (lambda x: np.full((1, 10), np.nan, np.float32), "not finite"),
        (lambda x: np.zeros((1, 9), np.float32), "other shapes"),
    ],
)
def test_who_answers_otherwise_is_not_compared(answer: Any, words: str, make_weights: Make) -> None:
    (result,), (told,) = contested(make_weights(TINY), [Stranger(answer)])
    assert not result.agrees and result.ratio is None and result.times is None
    assert "stranger:fp32 answers otherwise than hydrart" in told and words in told
    json.dumps(vars(result), allow_nan=False)


def test_who_fails_is_left_out(make_weights: Make) -> None:
    class Failing(Stranger):
        def prepare(self, k: int) -> Callable[[FloatArray], FloatArray]:
            raise SettingError("it is too large: use less")

    results, told = contested(make_weights(TINY), [Failing(lambda x: x)])
    assert not results and told == ["k=3: stranger:fp32 is left out: it is too large: use less"]


def test_rounding_is_forgiven_where_not_both_are_exact() -> None:
    ours = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    near = ours + 0.1 * np.random.default_rng(1).standard_normal((4, 10)).astype(np.float32)
    assert agreement(ours, near, exact=False)[0] and not agreement(ours, near, exact=True)[0]
    assert not agreement(ours, -ours, exact=False)[0]
    assert agreement(ours[:, :1] * 0, ours[:, :1] * 0, exact=False) == (True, 0.0, None), "one class that is always 0"


# memory, machine, profile


def test_resident_memory(tmp_path: Path) -> None:
    before = memory.resident()
    assert before is not None and before > 1_000_000
    touched = np.ones(40_000_000, np.uint8)
    after = memory.resident()
    assert after is not None and after - before > 30_000_000
    weights = make_file(tmp_path / "own.safetensors")  # no other test has it mapped
    file = WeightFile(weights)
    assert int(file.data.sum()) and touched.any()
    assert memory.resident_of(weights) == pytest.approx(weights.stat().st_size, abs=5000)
    assert memory.resident_of(weights.parent / "none") is None


def test_a_process_that_fails_is_told_of(weights: Path) -> None:
    with pytest.raises(hydrart.HydrartError, match=r"the process whose memory is measured failed .*k=99"):
        memory.first_call(weights, "fp32", weights, 99, 1)


def test_sensors(tmp_path: Path) -> None:
    assert machine.state(tmp_path) == machine.State(None, None, None, None, None, None)
    for path, text in {
        "sys/class/thermal/thermal_zone0/temp": "41500",
        "sys/class/thermal/thermal_zone1/temp": "-274000",  # a sensor that is off
        "sys/class/hwmon/hwmon3/temp1_input": "62250",
        "sys/class/hwmon/hwmon3/temp2_input": "",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1700000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
        "proc/loadavg": "0.25 0.10 0.05 1/100 1234",
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n" * (not text.endswith("\0")))
    assert machine.state(tmp_path) == machine.State(62.25, 7, True, 1600.0, "ondemand", 0.25)
    (tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("50001\n")
    assert machine.state(tmp_path).throttled is False, "undervoltage, and heat that is over"
    assert machine.machine(tmp_path).cpu == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.machine().cpu and machine.machine().cores >= 1


def test_saving_keeps_what_a_profile_holds(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(
        "name: böard\nlatency_ms: {3: 9.0, 7: 70.0}\npower_w: {idle: 2.1, 3: 4.0}\nsensors: {battery: auto}\n"
    )
    save.save(path, {12: 123.456, 3: 4.00012}, "what was measured")
    device = load_device(path)
    assert device.latency_ms == {3: 4.0, 7: 70.0, 12: 123.5} and device.power_w == {3: 4.0} and device.idle_w == 2.1
    assert device.name == "böard" and device.description == "what was measured"
    assert (
        "sensors: {battery: auto}" in path.read_text()
        and "latency_ms: {3: 4.0, 7: 70.0, 12: 123.5}" in path.read_text()
    )
    save.save(path, {3: 5.0}, "something else")
    assert load_device(path).description == "what was measured" and load_device(path).latency_ms[3] == 5.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["board.yaml"]


def test_a_profile_that_is_none_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("- 3\n")
    with pytest.raises(ProfileError, match="is no mapping"):
        save.save(path, {3: 1.0}, "")
    assert path.read_text() == "- 3\n"
