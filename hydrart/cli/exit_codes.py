"""From exceptions to one sentence and an exit code: 1 failed, 2 wrong usage (click's), 130 interrupted.

Under systemd the code is 78 instead of 1 where a restart cannot help.
"""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from click.exceptions import Exit

from hydrart.cli.interrupt import interruptible
from hydrart.errors import (
    HeadsError,
    HydrartError,
    MissingExtraError,
    ProfileError,
    SettingError,
    WeightFileError,
)
from hydrart.output.notify import Notifier
from hydrart.output.text import printable

LASTING = os.EX_CONFIG  # the exit code of a failure that a restart cannot mend
_LASTING = (WeightFileError, HeadsError, SettingError, ProfileError, MissingExtraError)


class Failure(click.ClickException):
    """Ends the program with exit code 1 and one sentence on stderr."""

    def show(self, file: Any = None) -> None:
        click.echo(f"hydrart: {printable(self.format_message())}", file=file, err=file is None)


class _Lasting(Failure):
    """Ends the program with exit code 78, after which systemd does not start it again."""

    exit_code = LASTING


def drop_stdout() -> None:
    """Discard all further output to stdout, which has no reader any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command's callback: an expected error becomes one sentence and an exit code, without a traceback."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            with interruptible():
                return command(*args, **kwargs)
        except HydrartError as error:
            lasting = isinstance(error, _LASTING) and "NOTIFY_SOCKET" in os.environ
            raise _to_systemd(_Lasting(str(error)) if lasting else Failure(str(error))) from error
        except MemoryError:
            raise _to_systemd(Failure("there is not enough memory: use a smaller picture, batch or network")) from None
        except BrokenPipeError:
            drop_stdout()
            raise Exit(0) from None  # the reader of the results has all that it wanted
        except OSError as error:
            why = f"{error.filename or 'the output'} cannot be read or written: {error.strerror}"
            raise _to_systemd(Failure(why)) from error
        except KeyboardInterrupt:
            Notifier().say(STATUS="ended: interrupted")
            raise Exit(130) from None
        except click.ClickException as error:
            _to_systemd(error)
            raise
        except Exit:
            raise
        except Exception as error:
            Notifier().say(STATUS=f"{type(error).__name__}: {error}")
            raise

    return wrapper


def _to_systemd(error: click.ClickException) -> click.ClickException:
    """Report the error to systemd and return it. `systemctl status` shows it to users who may not read the journal."""
    Notifier().say(STATUS=error.format_message())
    return error
