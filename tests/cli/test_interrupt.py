"""Ctrl-C ends a command whatever it is doing, as long as whoever started it did not have it ignored."""

import contextlib
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Generator, Iterator

import click
import pytest
from click.testing import CliRunner

from hydrart.bench import peak
from hydrart.cli import interrupt
from hydrart.cli import main as commands
from hydrart.cli.exit_codes import one_sentence
from hydrart.errors import HydrartError
from tests.support.commands import PATIENCE_S, call

pytestmark = pytest.mark.usefixtures("heeds_ctrl_c")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "AGAIN_S", 0.05)


def press(number: signal.Signals = signal.SIGINT) -> None:
    signal.raise_signal(number)


def work() -> None:
    """What never gets done, unless it is interrupted no more."""
    for _ in range(10 * PATIENCE_S):
        time.sleep(0.1)


def rest() -> None:
    """Long enough to be interrupted again."""
    time.sleep(0.3)


def outcome(body: Callable[[], object]) -> int:
    """The exit code of a command that does this; it says nothing, and leaves the handlers as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    result = CliRunner().invoke(click.command()(one_sentence(lambda: body())))
    assert not result.output and (result.exception is None or isinstance(result.exception, SystemExit))
    assert ([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook) == before
    assert signal.getitimer(signal.ITIMER_REAL)[1] == 0
    return result.exit_code


class Finalized:
    def __del__(self) -> None:
        press()


def in_a_finalizer() -> None:
    Finalized()
    work()


def in_a_callback() -> None:
    thing: set[int] = set()
    reference = weakref.ref(thing, lambda _: press())
    del thing
    assert reference() is None
    work()


def twice() -> None:
    Finalized()
    with contextlib.suppress(KeyboardInterrupt):
        work()
    work()


def as_another_error() -> None:
    try:
        press()
    except KeyboardInterrupt:
        raise HydrartError("some module is not installed") from None


def at_the_end() -> None:
    Finalized()


@pytest.mark.parametrize("body", [press, in_a_finalizer, in_a_callback, twice, as_another_error, at_the_end])
def test_it_does_not_get_lost(body: Callable[[], object], capfd: pytest.CaptureFixture[str]) -> None:
    assert outcome(body) == 130
    assert capfd.readouterr() == ("", ""), "nor is anything told of it"


def test_sigterm_does_the_same() -> None:
    assert outcome(lambda: press(signal.SIGTERM)) == 130


def test_cleaning_up_is_not_torn_off() -> None:
    done = []

    @contextlib.contextmanager
    def folder() -> Iterator[None]:
        try:
            yield
        finally:
            rest()
            done.append("folder")

    def frames() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            rest()
            done.append("frames")

    def body() -> None:
        with folder(), contextlib.closing(frames()) as each:
            next(each)
            try:
                press()
            finally:
                rest()
                done.append("body")

    assert outcome(body) == 130
    assert done == ["body", "frames", "folder"]


def test_who_handles_it_goes_on() -> None:
    done = []

    def body() -> None:
        try:
            press()
        except KeyboardInterrupt:
            interrupt.handled()
        rest()
        done.append(1)

    assert outcome(body) == 0 and done == [1]


def test_ignored_it_stays_ignored() -> None:
    """As in `hydrart run ... &` in a script: Ctrl-C at the terminal is meant for what runs in the foreground."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert outcome(press) == 0


def test_it_may_come_before_the_command_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "tell_when_compiling", press)
    result = call("devices")
    assert result.exit_code == 130 and not result.output


def test_threads_that_wait_for_an_interrupted_one_do_not_keep_python() -> None:
    program = f"""
import threading
from {peak.__name__} import _together
wait = threading.Barrier.wait
def interrupted(barrier):
    if threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt
    wait(barrier)
threading.Barrier.wait = interrupted
try:
    _together(lambda turns, address: None, 2)
except KeyboardInterrupt:
    print("interrupted")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\n", "")
