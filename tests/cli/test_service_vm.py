"""hydrart as a service of a systemd that runs, inside a virtual machine."""

import json
import shlex
from pathlib import Path

import pytest

from tests.support import servicing, vm
from tests.support.servicing import LINGER, MODEL, UID, USER, facts, root, state

pytestmark = pytest.mark.slow

UNIT = "eye.service"
RUN = f"run --source demo --loop --fps 5 {MODEL}"
LEFT = f"""
left() {{
    find ~/.config -name 'eye*'
    words | grep '^[^ ]* -m hydrart run'
    ctl list-units --all --plain --no-legend {UNIT}
}}
"""
START = f"""
service install -- {RUN} & installing=$!
sample() {{ ctl show {UNIT} -p SubState,StatusText | sort | paste -s; }}
while kill -0 $installing 2>/dev/null; do sample; sleep 0.2; done | uniq
wait $installing; echo "code=$?"; facts; service status --json
"""
VERIFY = f"XDG_RUNTIME_DIR=/run/user/{UID} systemd-analyze --user verify ~/.config/systemd/user/{UNIT}"
# what a shell, C or systemd would like to change
FOLDER, LOG = 'a "b" $HOME %h \\x; é', 'it\'s "$1" %% \\n\n.jsonl'
ODD = f"""
mkdir /tmp/{shlex.quote(FOLDER)}; cd /tmp/{shlex.quote(FOLDER)}
service install -- {RUN} --log {shlex.quote(LOG)}; echo "code=$?"; facts; [ -s {shlex.quote(LOG)} ] && echo log=there
"""


def job(name: str, script: str) -> vm.Job:
    return servicing.job(name, LEFT + script)


JOBS = [
    root("user", f"useradd --create-home --uid {UID} {USER}"),
    job("no manager", f"service install -- {RUN}; echo code=$?; find ~ -name 'eye*'"),
    job("unit only", f"service install --no-start -- {RUN} && service status; service remove && find ~ -name 'eye*'"),
    root("linger", LINGER),
    job("install", START),
    job("verify", VERIFY),
    job("hang", "kill -STOP $(show MainPID); until_is NRestarts 1; until_is SubState running; facts; journal >&2"),
    job("crash", "kill -KILL $(show MainPID); until_is NRestarts 2; until_is SubState running; facts; service status"),
    job("stop", "ctl stop eye; facts; service status; journal >&2"),
    root("boot", f"systemctl restart user@{UID}"),  # as far as the user's systemd can tell
    job("booted", "until_is SubState running; facts"),
    job("early", "ctl restart --no-block eye; until_is StatusText 'getting ready'; ctl stop eye; facts"),
    job("option", "service install -- run --nonsense; echo code=$?; facts"),
    job("usage", "service install -- run --camera 2 --source demo; echo code=$?; sleep 12; facts; service status"),
    job("lasting", "service install -- run --weights /nowhere; echo code=$?; sleep 12; facts; service status --json"),
    job("remove failed", "service remove; left; service status"),
    job("secret", f"service install -- run --source rtsp://me:secret@127.0.0.1/ {MODEL}; until_is NRestarts 2; facts"),
    root("journal", "journalctl -b -o cat | grep -e secret -e rtsp:"),
    job("odd", ODD),
    job("remove", "service remove; left"),
    job("nothing", "service remove; echo code=$?"),
]
Answers = dict[str, vm.Answer]


@pytest.fixture(scope="module")
def answers(machine: Path, share: Path) -> Answers:
    """What each of JOBS printed."""
    return vm.run(machine, share, JOBS, timeout_s=5400, systemd=True)


def test_it_is_ready_when_the_first_frame_was_there(answers: Answers) -> None:
    answer = answers["install"]
    assert facts(answer)["code"] == "0", answer
    assert state(answer) == ("active", "running", "success", "0")
    assert facts(answer)["StatusText"] == "running: demo clip" and facts(answer)["UnitFileState"] == "enabled"
    seen = [
        dict(part.split("=", 1) for part in line.split("\t")) for line in answer.stdout.splitlines() if "\t" in line
    ]
    assert {"SubState": "start", "StatusText": "getting ready"} in seen
    assert all((now["SubState"] == "running") == (now["StatusText"][:7] == "running") for now in seen), seen
    status = json.loads(answer.stdout.splitlines()[-1])
    assert status["installed"] and (status["active"], status["sub"]) == ("active", "running")
    assert (status["status"], status["restarts"]) == ("running: demo clip", 0)


def test_systemd_finds_no_fault_in_the_unit(answers: Answers) -> None:
    assert answers["verify"] == vm.Answer(0, "", "")


def test_a_hang_is_ended_and_shown_and_it_runs_again(answers: Answers) -> None:
    answer = answers["hang"]
    assert state(answer) == ("active", "running", "success", "1")
    assert "Watchdog timeout (limit 1min)!" in answer.stderr and "Failed with result 'watchdog'" in answer.stderr
    assert "Fatal Python error: Aborted" in answer.stderr and "in _follow\n" in answer.stderr


def test_a_crash_is_followed_by_a_restart(answers: Answers) -> None:
    answer = answers["crash"]
    assert state(answer) == ("active", "running", "success", "2")
    assert answer.stdout.splitlines()[-1] == "eye is active (running), restarted 2 times: running: demo clip"


def test_a_stop_is_clean_and_leaves_a_summary(answers: Answers) -> None:
    answer = answers["stop"]
    assert state(answer) == ("inactive", "dead", "success", "2")
    assert answer.stdout.splitlines()[-1] == "eye is inactive (dead), restarted 2 times: ended: closed"
    last = answer.stderr[answer.stderr.rindex("Stopping eye") :]
    assert " frames in " in last and "age at answer: " in last and "SIGKILL" not in last
    assert "| k=" not in answer.stderr, "a line a second fills the journal"


def test_a_stop_before_the_first_frame_is_no_failure(answers: Answers) -> None:
    assert state(answers["early"]) == ("inactive", "dead", "success", "0")


def test_it_starts_at_boot(answers: Answers) -> None:
    assert state(answers["booted"]) == ("active", "running", "success", "0")


def test_a_wrong_option_is_refused(answers: Answers) -> None:
    answer = answers["option"]
    assert facts(answer)["code"] == "2" and "No such option '--nonsense'" in answer.stderr
    assert state(answer) == state(answers["early"])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("usage", "exit code 2: --camera and --source exclude each other"),
        ("lasting", "exit code 78: /nowhere does not exist: check the path"),
    ],
)
def test_what_no_restart_mends_is_not_restarted(answers: Answers, name: str, why: str) -> None:
    answer = answers[name]
    assert facts(answer)["code"] == "1"
    assert state(answer) == ("failed", "failed", "exit-code", "0")
    assert f"hydrart: eye is installed but did not start, {why}; see journalctl --user-unit eye" in answer.stderr
    last = answer.stdout.splitlines()[-1]
    if name == "usage":
        assert last == f"eye is failed, restarted 0 times: {why}"
    else:
        status = json.loads(last)
        assert (status["active"], status["exit_code"]) == ("failed", 78) and status["status"] in why


def test_a_source_that_may_come_is_tried_again_and_its_password_told_to_nobody(answers: Answers) -> None:
    answer = answers["secret"]
    assert facts(answer)["ActiveState"] == "activating" and facts(answer)["NRestarts"] == "2"
    assert "Connection refused" in answer.stderr and "systemd goes on trying" in answer.stderr
    written = answers["journal"].stdout
    assert "rtsp://***@127.0.0.1/" in written and "secret" not in written


def test_words_reach_hydrart_as_they_were(answers: Answers) -> None:
    answer = answers["odd"]
    assert facts(answer)["code"] == "0", answer
    assert state(answer)[:2] == ("active", "running") and facts(answer)["log"] == "there"


def test_nothing_is_left(answers: Answers) -> None:
    failed, running = answers["remove failed"], answers["remove"]
    assert failed.stdout == "eye is not installed\n", failed
    assert running.stdout == "", running
    assert facts(answers["nothing"])["code"] == "1" and "there is nothing to remove" in answers["nothing"].stderr


def test_without_a_systemd_of_the_user_it_is_told(answers: Answers) -> None:
    sentence = f"hydrart: no systemd runs for {USER}: log in as that user, or: loginctl enable-linger {USER}"
    assert answers["no manager"].stdout == "code=1\n"
    assert answers["no manager"].stderr.strip() == sentence
    assert answers["unit only"].stdout == ""
    unit = f"/home/{USER}/.config/systemd/user/{UNIT}"
    assert answers["unit only"].stderr.splitlines() == [f"{unit} is written", sentence, f"{unit} is removed"]
