"""Show a running stream: as a panel on a terminal, otherwise as a plain line each second."""

import contextlib
import sys
import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hydrart.governor.blind import NEEDED
from hydrart.output.history import History
from hydrart.output.text import columns_of, fitted
from hydrart.readings import View, shown
from hydrart.stream.result import Result

_BLOCKS, _PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "12345678"
_EVERY_S = 0.25  # seconds between two drawings of the panel; each takes a few milliseconds
_ROWS = ("last minute", *(reading.title for reading in shown(View.TERMINAL).values()))  # the longest names among them
_FRAME, _LEAST = 6, 8  # columns of the panel's frame and gaps, and of the narrowest value


class PlainLine:
    """Print a line each second on stderr, or, with on_change, a line whenever the label changes."""

    def __init__(self, largest_k: int, on_change: bool = False, stream: TextIO | None = None) -> None:
        self._out = stream or sys.stderr
        self._largest_k = largest_k
        self._on_change = on_change
        self._history = History()
        self._shown_at = 0.0
        self._label = ""

    def show(self, result: Result) -> None:
        """Add a result to the history, and show it if an update is due."""
        self._history.add(result)
        now = time.monotonic()
        label = result.prediction.label
        if label != self._label if self._on_change else now - self._shown_at >= 1:
            self._shown_at, self._label = now, label
            self.say(fitted(line(result, self._history, self._largest_k), columns_of(self._out)))

    def say(self, message: str) -> None:
        """Print a message."""
        with contextlib.suppress(OSError):  # stderr may have no reader
            self._out.write(message + "\n")
            self._out.flush()

    def end(self) -> None:
        """Do nothing at the end."""


class LivePanel:
    """A panel that is drawn four times a second. Messages go above it."""

    def __init__(self, largest_k: int, title: str, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False)
        self._largest_k = largest_k
        self._title = title
        self._history = History()
        self._live = Live(console=self._console, auto_refresh=False)
        self._shown_at = 0.0
        self._last: Result | None = None
        self._live.start()

    def show(self, result: Result) -> None:
        """Add a result to the history, and show it if an update is due."""
        self._history.add(result)
        self._last = result
        now = time.monotonic()
        if now - self._shown_at >= _EVERY_S:
            self._shown_at = now
            self._draw(result)

    def say(self, message: str) -> None:
        """Print a message above the panel."""
        with contextlib.suppress(OSError):
            self._console.print(Text(message))

    def end(self) -> None:
        """Leave the last state on the screen."""
        with contextlib.suppress(OSError):
            if self._last:
                self._draw(self._last)
            self._live.stop()

    def _draw(self, result: Result) -> None:
        with contextlib.suppress(OSError):
            self._live.update(self._panel(result), refresh=True)

    def _panel(self, result: Result) -> Panel:
        answer = result.prediction
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        room = max(self._console.width - _FRAME - max(map(len, _ROWS)), _LEAST)
        score = ProgressBar(total=1, completed=answer.score, width=min(20, room))
        rows.add_row("label", Group(Text(f"{answer.label}  {answer.score:.0%}", style="bold"), score))
        rows.add_row("k", f"{answer.k} of {self._largest_k}")
        rows.add_row("because", result.decision.why)
        rows.add_row("last minute", self._bar(room))
        late = "red" if result.missed else "green"
        deadline = f", deadline {result.deadline_ms:.0f} ms" if result.deadline_ms else ""
        rows.add_row("age", Text(f"{result.age_ms:.1f} ms{deadline}", style=late))
        rates = self._history.rates()
        fps = ", ".join(f"{name} {'-' if rate is None else f'{rate:.1f}'}" for name, rate in rates.items())
        rows.add_row("fps", f"{fps}; dropped in all {self._history.dropped}")
        for name, reading in shown(View.TERMINAL).items():
            blind = ", so that its goal cannot act" if any(NEEDED[goal] == name for goal in result.blind) else ""
            rows.add_row(reading.title, f"{reading.text(result.readings.get(name))}{blind}")
        return Panel(rows, title=self._title, title_align="left", expand=False)

    def _bar(self, width: int) -> str:
        """Return the k of each second of the last minute as one character. A narrow width shows only the newest."""
        with_blocks = (self._console.encoding or "").lower().startswith("utf")
        steps = _BLOCKS if with_blocks else _PLAIN_BLOCKS
        top = len(steps) - 1
        ks = list(self._history.ks)[-width:]
        return "".join(" " if k is None else steps[min(k * top // self._largest_k, top)] for k in ks)


def line(result: Result, history: History, largest_k: int) -> str:
    """Describe the state in one line."""
    answer = result.prediction
    rate = history.rates()["processed"]
    deadline = f" of {result.deadline_ms:.0f}" if result.deadline_ms else ""
    parts = [
        f"{answer.label} {answer.score:.0%}",
        f"k={answer.k}/{largest_k} ({result.decision.reason})",
        f"age {result.age_ms:.1f}{deadline} ms",
        f"{'-' if rate is None else f'{rate:.1f}'} fps",
        f"dropped {history.dropped}",
    ]
    for name, reading in shown(View.TERMINAL).items():
        if (value := result.readings.get(name)) is not None:
            parts.append(f"{reading.title} {reading.text(value)}")
    return " | ".join(parts)
