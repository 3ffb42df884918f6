"""From exceptions to one sentence and an exit code."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from hydrart.cli.exit_codes import LASTING, Failure, one_sentence
from hydrart.errors import MissingExtraError, SourceError, WeightFileError


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
    ("error", "code"), [(WeightFileError("x is damaged: copy it again"), LASTING), (SourceError("no camera: wait"), 1)]
)
def test_a_service_is_not_restarted_where_that_cannot_help(error: Exception, code: int, systemd: socket.socket) -> None:
    assert run(error).exit_code == code and os.EX_CONFIG == LASTING
    assert systemd.recv(1000).decode() == f"STATUS={error}"


def test_systemd_learns_of_interruptions_and_faults(systemd: socket.socket) -> None:
    run(KeyboardInterrupt())
    assert systemd.recv(1000) == b"STATUS=ended: interrupted"
    run(ZeroDivisionError("x"))
    assert systemd.recv(1000) == b"STATUS=ZeroDivisionError: x"
