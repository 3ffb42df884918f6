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
# A thread that waits for a disk is in the state D, too, but not for seconds, and hardly after the start.
STATE = """
asleep() { for n in 1 2 3 4 5; do grep -qs '^State:.D' /proc/$(show MainPID)/task/*/status || return; sleep 1; done; }
until_asleep() {
    until_is StatusText "$1"
    for i in $(seq 300); do asleep && return; sleep 0.5; done; echo "$NAME is never asleep" >&2
}
"""
# Only SIGKILL ends an opening of /dev/stuck, and nothing ends one of /dev/deep.
OPENING = f"""{STATE}
NAME=shut; service install --no-start -- run --source /dev/stuck {MODEL}; ctl start --no-block shut
until_is NRestarts 1; until_asleep 'getting ready'; echo restarts=$(show NRestarts)
since=$(date +%s); ctl stop shut; echo took=$(($(date +%s) - since)); facts; service status; journal >&2; service remove
"""
# Two services that do not end at SIGTERM. Of the first, the main thread hangs, as at a file system that is gone. Of the
# second, the thread that opens the source hangs; systemd waits four times its limit for that one.
# One starts after the other: Linux opens such devices under one lock, for which nothing can end the wait either.
HANG = f"""{STATE}
install() {{ service install --no-start -- run "$@" {MODEL}; }}
NAME=stuck; install --source demo --log /dev/stuck
NAME=deep; install --source /dev/deep
sed -i 's/TimeoutStopSec=30/TimeoutStopSec=4/' ~/.config/systemd/user/deep.service
for NAME in stuck deep; do
    ctl start --no-block $NAME; until_asleep 'getting ready'; show StatusText
done
"""
END = """
ctl stop --no-block stuck; since=$(date +%s)
NAME=deep; pid=$(show MainPID); echo pid=$pid; service remove; echo code=$?; find ~/.config -name 'deep*'
echo threads=$(grep -ls '^State:.D' /proc/$pid/task/*/status | wc -l)
NAME=stuck; until_is ActiveState failed; echo took=$(($(date +%s) - since)); facts; service status; journal >&2
"""
RELEASE = """
echo 0 >/sys/module/faults/parameters/hang
for i in $(seq 60); do rmmod faults && break; sleep 0.5; done
modprobe faults nodes=video0
"""
READING = f"""{STATE}
until_asleep '*'
since=$(date +%s); ctl stop eye; echo took=$(($(date +%s) - since))
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
    job("opening hangs", OPENING),
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
    assert messages[-1].startswith("running again: ")
    losses = [message for message in messages if message.startswith("reconnecting: ")]
    assert losses[0].startswith(f"reconnecting: the camera {CAMERA} gives no more frames")
    pauses = [float(message.rsplit("next try in ", 1)[1].removesuffix(" s")) for message in losses]
    assert pauses[:6] == [0.5, 1, 2, 4, 8, 16] and set(pauses[6:]) == {30}, "a lost camera is tried for ever"
    assert len(set(losses)) == len(losses) and len(messages) < 20, "a message that stays true is said once"


def test_a_stop_while_a_read_hangs_is_clean(answers: Answers) -> None:
    answer = answers["reading hangs"]
    assert int(facts(answer)["took"]) < 30
    assert state(answer) == ("inactive", "dead", "success", "0")
    assert answer.stdout.splitlines()[-1] == "eye is inactive (dead), restarted 0 times: ended: closed"
    last = answer.stderr[answer.stderr.rindex("Stopping eye") :]
    assert " frames in " in last and "SIGKILL" not in last


def test_an_opening_that_hangs_is_given_up_and_tried_again(answers: Answers) -> None:
    """After 30 s the service ends, and systemd restarts it. A stop during the next try is clean."""
    answer = answers["opening hangs"]
    told = facts(answer)
    assert told["restarts"] == "1" and int(told["took"]) < 30
    assert state(answer)[:3] == ("inactive", "dead", "success")
    assert "hydrart: /dev/stuck did not open within 30 s: its driver or server hangs" in answer.stderr.splitlines()
    assert "SIGKILL" not in answer.stderr and "/shut.service is removed" in answer.stderr


def test_a_stop_of_what_only_sigkill_ends_takes_30_s_and_is_shown(answers: Answers) -> None:
    assert answers["hang"].stdout.splitlines() == ["getting ready"] * 2 and not facts(answers["hang"]), answers["hang"]
    answer = answers["end"]
    assert 30 <= int(facts(answer)["took"]) < 60
    assert state(answer) == ("failed", "failed", "timeout", "0") and facts(answer)["MainPID"] == "0"
    assert "State 'stop-sigterm' timed out. Killing." in answer.stderr
    assert answer.stdout.splitlines()[-1] == "stuck is failed, restarted 0 times: ended by timeout"


def test_a_removal_tells_of_a_process_that_nothing_ends(answers: Answers) -> None:
    answer = answers["end"]
    told = facts(answer)
    assert told["code"] == "1" and "/deep.service" not in answer.stdout, "the unit is gone"
    assert told["threads"] == "1", "the thread that opens the device still hangs"
    assert f"its process {told['pid']} hangs in a driver" in answer.stderr
