"""What a training reports while it works. Who shows it, and how, is the caller's affair."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

Advance = Callable[[int], Any]
Steps = Callable[[int, int, float], Any]


class Progress(Protocol):
    """The command line draws bars from these calls; `Silent` ignores them."""

    def stage(self, label: str, length: int) -> AbstractContextManager[Advance]:
        """Begin a stage of `length` pictures. The function it yields takes how many more are done."""

    def training(self, length: int) -> AbstractContextManager[Steps]:
        """Begin the training, `length` steps or seconds long.

        The function it yields takes the position from 0 to `length`, the steps so far, and the last step's loss.
        """

    def note(self, message: str) -> None:
        """One sentence that the user should read: a skipped picture, an assumption, a checkpoint that failed."""


class Silent:
    """Reports nothing."""

    def stage(self, label: str, length: int) -> AbstractContextManager[Advance]:
        return nullcontext(_ignore)

    def training(self, length: int) -> AbstractContextManager[Steps]:
        return nullcontext(_ignore)

    def note(self, message: str) -> None:
        """Ignores the message."""


def _ignore(*_: object) -> None:
    pass


SILENT = Silent()
