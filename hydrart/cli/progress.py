"""Progress of a training on stderr: a bar with the time that is left, or a line a minute where there is no terminal."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from hydrart.cli.options import progress_bar, warn
from hydrart.train.progress import Advance

_EVERY_S = 60  # between two lines where stderr is no terminal
_SHARE = 0.02  # of each step's loss in the moving average that is shown


class Bars:
    """hydrart.train.progress.Progress, drawn by click."""

    @contextmanager
    def stage(self, label: str, length: int) -> Iterator[Advance]:
        with progress_bar(label, length) as bar:
            yield bar.update

    def training(self, length: int) -> AbstractContextManager["TrainingBar"]:
        return TrainingBar(length)

    def note(self, message: str) -> None:
        warn(message)


class TrainingBar:
    """The bar of the training itself, with its loss."""

    def __init__(self, length: int) -> None:
        self._bar = progress_bar("Training", length)
        self._told = self._started = time.monotonic()
        self._first: int | None = None
        self._loss = math.nan
        self._watched = sys.stderr.isatty()

    def __enter__(self) -> "TrainingBar":
        self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def __call__(self, position: int, step: int, loss: float) -> None:
        """position: along the bar; step: how many have been made; loss: of the last one."""
        self._loss = loss if math.isnan(self._loss) else self._loss + _SHARE * (loss - self._loss)
        first = self._first = position if self._first is None else self._first
        if self._watched:
            self._bar.label = f"Training, loss {self._loss:.3f}"
        self._bar.update(position - self._bar.pos)
        now = time.monotonic()
        if not self._watched and now - self._told > _EVERY_S:
            self._told = now
            left = (self._bar.length or 0) - position
            minutes = left * (now - self._started) / max(1, position - first) / 60
            warn(f"step {step}, loss {self._loss:.3f}, {minutes:.0f} minutes left")
