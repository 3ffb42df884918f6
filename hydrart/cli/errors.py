"""From exceptions to one sentence and an exit code: 1 failed, 2 wrong usage (click's), 130 interrupted.

Under systemd it is 78 instead of 1 where starting again is of no use.
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

LASTING = os.EX_CONFIG  # ends a service that no restart would mend
_LASTING = (WeightFileError, HeadsError, SettingError, ProfileError, MissingExtraError)


class Failure(click.ClickException):
    """Ends the program with one sentence on stderr and exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"hydrart: {printable(self.format_message())}", file=file, err=file is None)


class _Lasting(Failure):
    """The same under systemd, which then does not start the program again."""

    exit_code = LASTING


def drop_stdout() -> None:
    """Nobody reads stdout any more: what is still printed, also when Python ends, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_sentence(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command's callback: what goes wrong on purpose is told in one sentence, without a traceback."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            with interruptible():
                return command(*args, **kwargs)
        except HydrartError as error:
            lasting = isinstance(error, _LASTING) and "NOTIFY_SOCKET" in os.environ
            raise _told(_Lasting(str(error)) if lasting else Failure(str(error))) from error
        except MemoryError:
            raise _told(Failure("there is not enough memory: use a smaller picture, batch or network")) from None
        except BrokenPipeError:
            drop_stdout()
            raise Exit(0) from None  # who read the results wants no more
        except OSError as error:
            why = f"{error.filename or 'the output'} cannot be read or written: {error.strerror}"
            raise _told(Failure(why)) from error
        except KeyboardInterrupt:
            Notifier().say(STATUS="ended: interrupted")
            raise Exit(130) from None
        except click.ClickException as error:
            _told(error)
            raise
        except Exit:
            raise
        except Exception as error:
            Notifier().say(STATUS=f"{type(error).__name__}: {error}")
            raise

    return wrapper


def _told(error: click.ClickException) -> click.ClickException:
    """The same error, told to systemd, which keeps it for who asks; not everyone may read its journal."""
    Notifier().say(STATUS=error.format_message())
    return error
