"""From exceptions to one sentence and an exit code: 1 failed, 2 wrong usage (click's), 130 interrupted."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from click.exceptions import Exit

from hydrart.cli.interrupt import interruptible
from hydrart.cli.options import printable
from hydrart.errors import HydrartError


class Failure(click.ClickException):
    """Ends the program with one sentence on stderr and exit code 1."""

    def show(self, file: Any = None) -> None:
        click.echo(f"hydrart: {printable(self.format_message())}", file=file, err=file is None)


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
            raise Failure(str(error)) from error
        except MemoryError:
            raise Failure("there is not enough memory: use a smaller picture, batch or network") from None
        except BrokenPipeError:
            drop_stdout()
            raise Exit(0) from None  # who read the results wants no more
        except OSError as error:
            raise Failure(f"{error.filename or 'the output'} cannot be read or written: {error.strerror}") from error
        except KeyboardInterrupt:
            raise Exit(130) from None

    return wrapper
