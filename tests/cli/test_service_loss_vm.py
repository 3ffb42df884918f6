"""hydrart as a service whose camera is lost, or hangs, inside a virtual machine."""

from pathlib import Path

import pytest

from tests.support import vm
from tests.support.servicing import LINGER, MODEL, UID, USER, facts, job, root, state

pytestmark = pytest.mark.slow

CAMERA = "/dev/video0"
RUN = f"run --camera 0 --fps 5 {MODEL}"
# the counter in a corner changes with every frame: a picture that never does is a frozen camera
PLUG = f"""
modprobe vivid n_devs=1 node_types=0x1; sleep 1
v4l2-ctl -d {CAMERA} -c osd_text_mode=1,test_pattern=1; chmod 666 {CAMERA}
"""
UNPLUG = f"""
v4l2-ctl -d {CAMERA} -c disconnect=1
for i in $(seq 100); do rmmod vivid && exit; sleep 0.5; done
exit 1
"""
STATE = "asleep() { grep -qs '^State:.D' /proc/$(show MainPID)/task/*/status; }\n"
# two services of devices that hang when they are opened: of /dev/stuck SIGKILL frees, of /dev/deep nothing does, for
# which systemd waits four times its limit. One after the other: Linux opens such devices under one lock, for which
# nothing can end the wait either
HANG = f"""{STATE}
NAME=stuck; service install --no-start -- run --source /dev/stuck {MODEL}
cd ~/.config/systemd/user; sed 's/stuck/deep/g; s/TimeoutStopSec=30/TimeoutStopSec=4/' stuck.service >deep.service
ctl daemon-reload
for NAME in stuck deep; do
    ctl start --no-block $NAME
    for i in $(seq 300); do asleep && sleep 3 && asleep && break; sleep 0.5; done; show StatusText
done
"""
END = """
ctl stop --no-block stuck; since=$(date +%s)
NAME=deep; echo pid=$(show MainPID); service remove; echo code=$?; find ~/.config -name 'deep*'
words | grep '^[^ ]* -m hydrart run --source /dev/deep'
NAME=stuck; until_is ActiveState failed; echo took=$(($(date +%s) - since)); facts; service status; journal >&2
"""
RELEASE = """
echo 0 >/sys/module/faults/parameters/hang
for i in $(seq 60); do rmmod faults && break; sleep 0.5; done
modprobe faults nodes=video0
"""
READING = f"""{STATE}
for i in $(seq 120); do asleep && break; sleep 0.5; done
asleep && echo hangs=yes; since=$(date +%s); ctl stop eye; echo took=$(($(date +%s) - since))
facts; service status; journal >&2
"""
JOBS = [
    root("user", f"useradd --create-home --uid {UID} {USER}"),
    root("linger", LINGER),
    root("plug", PLUG),
    job("install", f"service install -- {RUN}; echo code=$?; facts"),
    root("unplug", UNPLUG),
    job("lost", "until_is StatusText 'reconnecting:*'; echo at=$(date +%s); facts"),
    root("faults", "modprobe faults nodes=stuck,deep"),
    job("hang", HANG),
    job("end", END),
    job("still lost", "echo at=$(date +%s); facts; service status"),
    root("plug again", PLUG),
    job("back", "until_is StatusText 'running:*'; facts; journal >&2"),
    root("unplug again", UNPLUG),
    root("hanging driver", RELEASE),
    job("reading hangs", READING),
]
Answers = dict[str, vm.Answer]


@pytest.fixture(scope="module")
def answers(machine_with_faults: Path, share: Path) -> Answers:
    """What each of JOBS printed."""
    return vm.run(machine_with_faults, share, JOBS, timeout_s=3600, systemd=True)


@pytest.mark.parametrize("name", ["plug", "unplug", "faults", "plug again", "unplug again", "hanging driver"])
def test_cameras_come_and_go(answers: Answers, name: str) -> None:
    assert answers[name].exit_code == 0, answers[name].stderr


def test_a_lost_camera_is_waited_for(answers: Answers) -> None:
    """For longer than the watchdog's 60 s, in the same process; then it goes on."""
    process = facts(answers["install"])["MainPID"]
    lost, later, back = (answers[name] for name in ("lost", "still lost", "back"))
    assert int(facts(later)["at"]) - int(facts(lost)["at"]) > 60
    for answer in (lost, later, back):
        assert state(answer) == ("active", "running", "success", "0") and facts(answer)["MainPID"] == process
    assert facts(lost)["StatusText"].startswith("reconnecting: ")
    told = later.stdout.splitlines()[-1]
    assert told.startswith(f"eye is active (running), restarted 0 times: reconnecting: there is no camera {CAMERA}")
    assert facts(back)["StatusText"].startswith("running: ")
    messages = back.stderr.splitlines()
    assert f"reconnecting: the camera {CAMERA} gives no more frames" in back.stderr
    assert messages[-1].startswith("running again: ") and len(messages) < 30


def test_a_stop_while_a_read_hangs_is_clean(answers: Answers) -> None:
    answer = answers["reading hangs"]
    assert facts(answer)["hangs"] == "yes" and int(facts(answer)["took"]) < 30
    assert state(answer) == ("inactive", "dead", "success", "0")
    assert answer.stdout.splitlines()[-1] == "eye is inactive (dead), restarted 0 times: ended: closed"
    last = answer.stderr[answer.stderr.rindex("Stopping eye") :]
    assert " frames in " in last and "SIGKILL" not in last


def test_a_stop_of_what_only_sigkill_ends_takes_30_s_and_is_shown(answers: Answers) -> None:
    assert answers["hang"].stdout.splitlines() == ["getting ready"] * 2, answers["hang"]
    answer = answers["end"]
    assert 30 <= int(facts(answer)["took"]) < 60
    assert state(answer) == ("failed", "failed", "timeout", "0") and facts(answer)["MainPID"] == "0"
    assert "State 'stop-sigterm' timed out. Killing." in answer.stderr
    assert answer.stdout.splitlines()[-1] == "stuck is failed, restarted 0 times: ended by timeout"


def test_a_removal_tells_of_a_process_that_nothing_ends(answers: Answers) -> None:
    answer = answers["end"]
    told = facts(answer)
    assert any(
        line.startswith("/usr/bin/python3 -m hydrart run --source /dev/deep") for line in answer.stdout.splitlines()
    )
    assert told["code"] == "1" and "/deep.service" not in answer.stdout, "the unit is gone"
    assert f"its process {told['pid']} hangs in a driver" in answer.stderr
