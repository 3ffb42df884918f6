"""The interface through which a training reports its progress. The caller decides how to show it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

Advance = Callable[[int], Any]
Steps = Callable[[int, int, float], Any]


class Progress(Protocol):
    """The command line draws bars from these calls. `Silent` ignores them."""

    def stage(self, label: str, length: int) -> AbstractContextManager[Advance]:
        """Begin a stage of `length` pictures. It yields a function that takes the number of further pictures done."""

    def training(self, length: int) -> AbstractContextManager[Steps]:
        """Begin the training, `length` steps or seconds long.

        It yields a function that takes the position, 0 to `length`, the steps so far, and the last step's loss.
        """

    def note(self, message: str) -> None:
        """Show the user a sentence, such as on a skipped picture, an assumption, or a checkpoint that failed."""


class Silent:
    """Report nothing."""

    def stage(self, label: str, length: int) -> AbstractContextManager[Advance]:
        return nullcontext(_ignore)

    def training(self, length: int) -> AbstractContextManager[Steps]:
        return nullcontext(_ignore)

    def note(self, message: str) -> None:
        """Ignore the message."""


def _ignore(*_: object) -> None:
    pass


SILENT = Silent()
