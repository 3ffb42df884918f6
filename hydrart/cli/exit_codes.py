"""From exceptions to one sentence and an exit code: 1 failed, 2 wrong usage (click's), 130 interrupted.

Under systemd the code is 78 instead of 1 where a restart cannot help.
"""

import contextlib
import errno
import functools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click
from click.exceptions import Exit

from hydrart.cli.interrupt import interruptible
from hydrart.errors import (
    HeadsError,
    HydrartError,
    MissingExtraError,
    ProfileError,
    SettingError,
    UnfinishedWeightFileError,
    WeightFileError,
)
from hydrart.output.notify import Notifier
from hydrart.output.text import printable

LASTING = os.EX_CONFIG  # the exit code of a failure that a restart cannot mend
_LASTING = (WeightFileError, HeadsError, SettingError, ProfileError, MissingExtraError)


_MEMORY = "there is not enough memory: use a smaller picture, batch or network"
_THREADS = "no thread can be started: raise the limits of memory and processes (ulimit -v, ulimit -u)"


class Failure(click.ClickException):
    """Ends the program with exit code 1 and one sentence on stderr."""

    def show(self, file: Any = None) -> None:
        with contextlib.suppress(OSError):  # stderr may be full, or have no reader
            click.echo(f"hydrart: {printable(self.format_message())}", file=file, err=file is None)


class _Lasting(Failure):
    """Ends the program with exit code 78, after which systemd does not start it again."""

    exit_code = LASTING


def drop_stdout() -> None:
    """Discard all further output to stdout, which has no reader any more."""
    _drop(sys.stdout)


def drop_unwritable() -> None:
    """Discard what a standard stream could not write. Else Python tries again at its exit, and complains."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _drop(stream)


def _drop(stream: TextIO) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Turn a failure to write, such as that of help to a full disk, into a sentence. A reader that left is none."""
    try:
        yield
    except BrokenPipeError:
        drop_stdout()
        raise Exit(0) from None
    except OSError as error:
        raise Failure(_why(error)) from error


def one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command's callback: an expected error becomes one sentence and an exit code, without a traceback."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            with interruptible():
                return command(*args, **kwargs)
        except HydrartError as error:
            lasting = isinstance(error, _LASTING) and not isinstance(error, UnfinishedWeightFileError)
            lasting = lasting and "NOTIFY_SOCKET" in os.environ
            raise _to_systemd(_Lasting(str(error)) if lasting else Failure(str(error))) from error
        except MemoryError:
            raise _to_systemd(Failure(_MEMORY)) from None
        except BrokenPipeError:  # the reader of the results has all that it wanted
            drop_stdout()
            raise Exit(0) from None
        except OSError as error:
            raise _to_systemd(Failure(_why(error))) from error
        except KeyboardInterrupt:
            Notifier().say(STATUS="ended: interrupted")
            raise Exit(130) from None
        except click.ClickException as error:
            _to_systemd(error)
            raise
        except Exit:
            raise
        except RuntimeError as error:
            if "can't start new thread" not in str(error):
                Notifier().say(STATUS=f"{type(error).__name__}: {error}")
                raise
            raise _to_systemd(Failure(_THREADS)) from error
        except Exception as error:
            Notifier().say(STATUS=f"{type(error).__name__}: {error}")
            raise

    return wrapper


def _why(error: OSError) -> str:
    """What failed, and why. The loader of libraries gives no error number where memory is missing."""
    cause: BaseException | None = error
    while cause is not None:
        if getattr(cause, "errno", None) == errno.ENOMEM or "failed to map segment" in str(cause):
            return _MEMORY
        cause = cause.__cause__ or cause.__context__
    if error.strerror is None:
        return " ".join(str(error).split()) or type(error).__name__
    return f"{error.filename or 'the output'} cannot be read or written: {error.strerror}"


def _to_systemd(error: click.ClickException) -> click.ClickException:
    """Report the error to systemd and return it. `systemctl status` shows it to users who may not read the journal."""
    Notifier().say(STATUS=error.format_message())
    return error
