"""From exceptions to one sentence and an exit code."""

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from hydrart.cli.exit_codes import LASTING, Failure, one_sentence
from hydrart.errors import MissingExtraError, SourceError, UnfinishedWeightFileError, WeightFileError
from tests.support.commands import PATIENCE_S, PROGRAM


def run(error: BaseException | None) -> Result:
    """A command that raises this."""

    @click.command()
    @one_sentence
    def command() -> None:
        if error is not None:
            raise error
        click.echo("done")

    return CliRunner().invoke(command)


def test_what_succeeds_exits_with_0() -> None:
    result = run(None)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "done\n", "")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (WeightFileError("x is damaged: copy it again"), 1, "hydrart: x is damaged: copy it again\n"),
        (MissingExtraError("--serve", "aiohttp", "dashboard"), 1, "hydrart: --serve needs aiohttp: install it with: "),
        (Failure("no picture could be classified"), 1, "hydrart: no picture could be classified\n"),
        (OSError(28, "No space left on device", "/tmp/x"), 1, "/tmp/x cannot be read or written: No space left"),
        (OSError(5, "Input/output error"), 1, "the output cannot be read or written: Input/output error"),
        (OSError("a library is missing"), 1, "hydrart: a library is missing\n"),
        (OSError(12, "Cannot allocate memory", "x.safetensors"), 1, "there is not enough memory: use a smaller"),
        (RuntimeError("can't start new thread"), 1, "no thread can be started: raise the limits"),
        (MemoryError(), 1, "there is not enough memory: use a smaller picture"),
        (click.UsageError("a and b exclude each other"), 2, "Error: a and b exclude each other"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_sentence(error: BaseException, code: int, said: str) -> None:
    result = run(error)
    assert result.exit_code == code and said in result.stderr and not result.stdout
    assert "Traceback" not in result.stderr


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert run(Failure("a\x1b[31mred\nname")).stderr == "hydrart: a\\x1b[31mred\\nname\n"


def test_other_exceptions_are_faults_of_hydrart_and_stay() -> None:
    assert isinstance(run(ZeroDivisionError("x")).exception, ZeroDivisionError)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd listens to a service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WeightFileError("x is damaged: copy it again"), LASTING),
        (UnfinishedWeightFileError("x is being written: try again"), 1),
        (SourceError("no camera: wait"), 1),
    ],
)
def test_a_service_is_not_restarted_where_that_cannot_help(error: Exception, code: int, systemd: socket.socket) -> None:
    assert run(error).exit_code == code and os.EX_CONFIG == LASTING
    assert systemd.recv(1000).decode() == f"STATUS={error}"


def test_systemd_learns_of_interruptions_and_faults(systemd: socket.socket) -> None:
    run(KeyboardInterrupt())
    assert systemd.recv(1000) == b"STATUS=ended: interrupted"
    run(ZeroDivisionError("x"))
    assert systemd.recv(1000) == b"STATUS=ZeroDivisionError: x"


def test_a_library_that_finds_no_memory() -> None:
    error = OSError("could not load libllvmlite.so")
    error.__context__ = OSError("libllvmlite.so: failed to map segment from shared object")
    assert "there is not enough memory" in run(error).stderr


# programs that have too little of something: they do with it, or end with a sentence


def scarce(limit: str, *args: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    """A run under this limit of the shell."""
    command = f"{limit}; exec {shlex.join([*PROGRAM, *map(str, args)])}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE_S, **settings)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def answers_or_says_why(done: subprocess.CompletedProcess[str], why: str) -> None:
    if done.returncode:
        assert done.returncode == 1
        said = [line for line in done.stderr.splitlines() if line.startswith("hydrart: ")]
        assert len(said) == 1 and re.search(why, said[0]), done.stderr
    else:
        assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize("kilobytes", [300_000, 600_000, 900_000])
def test_little_memory(kilobytes: int, weights: Path) -> None:
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 3)
    done = scarce(f"ulimit -v {kilobytes}", *args)
    answers_or_says_why(done, "there is not enough memory|no thread can be started")


@pytest.mark.parametrize("descriptors", [6, 10, 20])
def test_few_descriptors(descriptors: int, weights: Path, tmp_path: Path) -> None:
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 3, "--log", tmp_path / "log.jsonl")
    done = scarce(f"ulimit -n {descriptors}", *args, "--battery-cmd", "echo 87", "--until", 2)
    answers_or_says_why(done, "Too many open files|cannot be")
    assert descriptors < 20 or not done.returncode, "20 are enough"


def test_no_room_for_files(weights: Path, tmp_path: Path) -> None:
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 3)
    done = scarce("ulimit -f 0", *args, "--log", tmp_path / "log.jsonl")
    assert done.returncode == 1 and f"{tmp_path}/log.jsonl cannot be read or written: File too large" in done.stderr


def test_no_home_and_no_folder_for_temporary_files(weights: Path, tmp_path: Path) -> None:
    args = ("run", "--source", "demo", "--weights", weights, "--max-frames", 3)
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")}
    done = scarce("true", *args, env=environment | {"TMPDIR": "/nowhere"})
    assert not done.returncode and len(done.stdout.splitlines()) == 3, done.stderr
