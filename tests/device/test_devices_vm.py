"""hydrart on grey cameras, a battery and a thermal zone of a real kernel, inside a virtual machine.

The cameras are v4l2loopback's, which give what loopback.py writes. The battery is the driver of smart battery gauges,
and the thermometer beside it lm75's, on an I2C bus whose registers a test sets. The CPU's thermal zone is faults.c's.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import loopback, vm
from tests.support.networks import CIFAR

pytestmark = pytest.mark.slow

HYDRART = ("python3", "-m", "hydrart")
# the kernels would compile for minutes in emulation, and this is about the devices
MODEL = ("--weights", "w.safetensors", "--backend", "reference")
FEED = """
python3 loopback.py >/tmp/fed 2>&1 & echo $! >/tmp/feeder
for i in $(seq 200); do grep -q written /tmp/fed && exit; sleep 0.3; done
cat /tmp/fed >&2; exit 1
"""
# the pictures of each camera in turn: what is in a row in their middle, and whether every row and channel is like it
PICTURES = """
import itertools, json, hydrart, loopback
model = hydrart.load("w.safetensors", backend="reference")
for number in loopback.CAMERAS:
    with hydrart.Stream(number, model, fps=4, keep_frame=True) as stream:
        for result in itertools.islice(stream, 2):
            picture = result.picture[1:].astype(int)
            row = picture[60, :, 0]
            off = abs(picture - row[:, None]).max()
            size = result.picture.shape[1::-1]
            print(json.dumps({"camera": number, "size": size, "row": row.tolist(), "off": int(off)}))
"""
# registers of the smart battery specification: charge and energy in percent, mAh or 10 mWh, volts in mV, amperes in mA
BATTERY = """
number() { set -- $(grep -l 'SMBus stub' /sys/bus/i2c/devices/i2c-*/name); set -- ${1%/name}; echo ${1##*-}; }
gauge() { i2cset -f -y $(number) 0x0b $1 $2 w; }
charge() { gauge 0x0d $1; gauge 0x0f $((20 * $1)); }
unplugged() { gauge 0x0a $((65536 - 300)); gauge 0x16 0x40; }
plugged() { gauge 0x0a 300; gauge 0x16 0; }
ZONE=/sys/module/faults/parameters/millicelsius
"""
SENSORS = f"""{BATTERY}
modprobe i2c-dev && modprobe i2c-stub chip_addr=0x0b,0x48 && modprobe sbs-battery && modprobe lm75 && modprobe faults
for of in 0x08:2982 0x09:5000 0x10:2000 0x18:2000 0x19:5000 0x1a:0x11; do gauge ${{of%:*}} ${{of#*:}}; done
charge 80; unplugged
i2cset -y $(number) 0x48 0 0x802a w
cd /sys/bus/i2c/devices/i2c-$(number); echo sbs-battery 0x0b >new_device; echo lm75 0x48 >new_device
echo 41500 >$ZONE
"""
# the thermal zone is as warm as a CPU with a lag of 5 s is of what the process computes
HEAT = """
import math, sys, time
process, temperature, last = sys.argv[1], 40.0, None
while True:
    with open(f"/proc/{process}/stat") as stat, open("/tmp/celsius_per_core") as cooling:
        user, system = map(int, stat.read().rsplit(")", 1)[1].split()[11:13])
        rise = float(cooling.read())
    now = time.monotonic(), (user + system) / 100
    if last:
        seconds = now[0] - last[0]
        aim = min(35 + rise * (now[1] - last[1]) / seconds, 100)
        temperature += (aim - temperature) * -math.expm1(-seconds / 5)
    last = now
    with open("/sys/module/faults/parameters/millicelsius", "w") as zone:
        zone.write(str(round(temperature * 1000)))
    time.sleep(0.5)
"""
HOT = 60
RECOVERED = '"k": ([5-9]|1.),.*"(accuracy|deadline|probe)"'  # how far, that depends on what else the host does
# what happens while hydrart runs: each step waits until the log shows what the one before led to. The empty battery is
# believed after eleven readings, one every 5 s, which the cooling down uses.
EVENTS = f"""{BATTERY}
cooling() {{ echo $1 >/tmp/celsius; mv /tmp/celsius /tmp/celsius_per_core; }}
mark() {{ echo $(date +%s.%N) $1 >>/tmp/marks; }}
seen() {{
    for i in $(seq 180); do tail -n 1 /tmp/log | grep -Eq "$2" && mark $1 && return; sleep 0.5; done
    mark "no $1"; kill -INT $PID; kill $heating; exit
}}
cooling 30; python3 -c '{HEAT}' $PID & heating=$!
seen cool '{RECOVERED}'
cooling 160
seen hot '"k": [3-9],.*"heat"'
charge 4
seen limited '"temp_c": [45].*"heat"'
cooling 30
seen cooled '{RECOVERED}'
seen empty '"k": 3,.*"reason": "battery"'
plugged
seen plugged '{RECOVERED}'
kill $heating; echo -2147483648 >$ZONE
seen unreadable '"temp_c": null'
rmmod faults; cd /sys/bus/i2c/devices/i2c-$(number); echo 0x0b >delete_device; echo 0x48 >delete_device
mark gone; sleep 8
kill -INT $PID
"""
RUN = ("run", "--source", "demo", "--loop", "--fps", "1", "--max-temp", str(HOT), "--until", "10", *MODEL)
JOBS = [
    vm.Job("load cameras", ("sh", "-c", loopback.LOAD)),
    vm.Job("unfed", (*HYDRART, "cameras")),
    vm.Job("feed", ("sh", "-c", FEED)),
    vm.Job("cameras", (*HYDRART, "cameras", "--json")),
    vm.Job("pictures", ("python3", "-c", PICTURES)),
    vm.Job("run camera", (*HYDRART, "run", "--camera", "12", "--fps", "4", "--max-frames", "4", "--json", *MODEL)),
    vm.Job("unload cameras", ("sh", "-c", "kill $(cat /tmp/feeder); sleep 1; rmmod v4l2loopback")),
    vm.Job("no sensors", (*HYDRART, "devices", "--here")),
    vm.Job("load sensors", ("sh", "-c", SENSORS)),
    vm.Job("sensors", (*HYDRART, "devices", "--here")),
    vm.Job("events", (*HYDRART, *RUN, "--log", "/tmp/log", "--json"), after=1, then=EVENTS),
    vm.Job("marks", ("cat", "/tmp/marks")),
]
Answers = dict[str, vm.Answer]
Frames = list[dict[str, Any]]
PHASES = ["cool", "hot", "limited", "cooled", "empty", "plugged", "unreadable", "gone"]


@pytest.fixture(scope="module")
def answers(machine_with_faults: Path, share: Path) -> Answers:
    """What each of JOBS printed."""
    shutil.copy(loopback.__file__, share)
    return vm.run(machine_with_faults, share, JOBS, timeout_s=1800)


def frames(answer: vm.Answer) -> Frames:
    """The frames of a run with --json that ended well."""
    assert answer.exit_code == 0 and "Traceback" not in answer.stderr, answer
    *lines, last = map(json.loads, answer.stdout.splitlines())
    assert last["summary"]["frames"] == len(lines)
    return lines


@pytest.fixture(scope="module")
def phases(answers: Answers) -> dict[str, Frames]:
    """What the run answered from each of the marks up to the next: what the mark waited for came just before."""
    marks = [line.split(" ", 1) for line in answers["marks"].stdout.splitlines()]
    assert [mark for _, mark in marks] == PHASES
    given = frames(answers["events"])
    times = [*(float(time) for time, _ in marks), given[-1]["t_wall"] + 1]
    spans = zip(PHASES, times, times[1:], strict=False)
    return {phase: [frame for frame in given if start <= frame["t_wall"] < end] for phase, start, end in spans}


@pytest.mark.parametrize("job", ["load cameras", "feed", "unload cameras", "load sensors"])
def test_the_devices_are_there(answers: Answers, job: str) -> None:
    assert (answers[job].exit_code, answers[job].stderr) == (0, "")


def test_grey_cameras_are_listed_with_their_only_format(answers: Answers) -> None:
    assert answers["unfed"] == vm.Answer(0, "", "no camera is connected\n")
    cameras = [json.loads(line) for line in answers["cameras"].stdout.splitlines()]
    assert [camera["path"] for camera in cameras] == [f"/dev/video{number}" for number in loopback.CAMERAS]
    for camera, (pixels, _, width, height) in zip(cameras, loopback.CAMERAS.values(), strict=True):
        assert (camera["driver"], camera["readable"], camera["busy"]) == ("v4l2 loopback", True, False)
        ((form),) = camera["formats"]
        assert form["pixels"] == pixels.strip()
        assert [(size["width"], size["height"]) for size in form["sizes"]] == [(width, height)]


@pytest.mark.parametrize("number", loopback.CAMERAS)
def test_pictures_of_grey_cameras_are_right(answers: Answers, number: int) -> None:
    assert answers["pictures"].exit_code == 0, answers["pictures"].stderr
    pixels, bits, width, height = loopback.CAMERAS[number]
    pictures = [json.loads(line) for line in answers["pictures"].stdout.splitlines()]
    pictures = [picture for picture in pictures if picture["camera"] == number]
    assert len(pictures) == 2
    expected = np.repeat(loopback.LEVELS, -(-width // len(loopback.LEVELS)))[:width]
    for picture in pictures:
        assert picture["size"] == [width, height]
        # what is below eight bits may be rounded up
        assert abs(np.array(picture["row"]) - expected).max() <= (bits > 8), (pixels, bits, picture["row"])
        assert picture["off"] <= (bits > 8), (pixels, bits, picture["off"])


def test_a_grey_camera_is_answered(answers: Answers) -> None:
    given = frames(answers["run camera"])
    assert len(given) == 4 and all(frame["label"] in CIFAR for frame in given)
    assert "the camera /dev/video12, Y16 160x120 at 4 fps; asked for MJPG 640x480" in answers["run camera"].stderr


def test_sensors_are_shown_with_their_units(answers: Answers) -> None:
    before = answers["no sensors"].stdout.splitlines()
    assert before[0] == "temperatures     none: no thermal zone, no hwmon sensor"
    assert before[1].startswith("battery          none")
    shown = answers["sensors"].stdout.splitlines()
    assert "temperature      41.5 C       cpu-thermal" in shown
    assert "temperature      42.5 C       lm75 temp1" in shown
    assert "  taken          41.5 C" in shown, "the CPU's, not the hottest"
    assert "battery          80%, 16.0 of 20.0 Wh, draws 1.50 W, not charging (sbs-0-000b)" in shown


def test_heat_lowers_k_until_it_is_cool_again(phases: dict[str, Frames]) -> None:
    assert max(frame["temp_c"] for frame in phases["cool"]) > HOT
    hot = [frame for frame in phases["hot"] + phases["limited"] if frame["reason"] == "heat"]
    assert hot and all(frame["k"] < 12 for frame in hot)
    assert any(frame["temp_c"] < HOT for frame in hot), "it has cooled down"
    assert phases["cooled"] and phases["cooled"][0]["temp_c"] < HOT


def test_an_empty_battery_lowers_k_until_it_is_plugged_in(phases: dict[str, Frames]) -> None:
    assert phases["cooled"][-1]["battery"] == 0.04
    assert phases["empty"][0]["reason"] == "battery"
    plugged = phases["plugged"]
    assert len(plugged) >= 4 and all(frame["k"] > 3 and frame["reason"] != "battery" for frame in plugged)


def test_sensors_that_fail_and_go_do_no_harm(answers: Answers, phases: dict[str, Frames]) -> None:
    assert phases["plugged"][-1]["temp_c"] is None
    gone = phases["gone"]
    assert len(gone) >= 4 and all(frame["reason"] not in ("battery", "heat") for frame in gone)
    assert "Traceback" not in answers["events"].stderr
