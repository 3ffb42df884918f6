"""Send a stream's results to all outputs: stdout, terminal, log, video, live page, systemd."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click

from hydrart.governor.governor import Governor
from hydrart.json_lines import json_bytes
from hydrart.output.answers import CsvRows, answer_text
from hydrart.output.log import RotatingLog
from hydrart.output.notify import Notifier
from hydrart.output.summary import summary_text
from hydrart.output.text import columns_of, fitted, printable, warnings_to
from hydrart.output.video import VideoWriter
from hydrart.source.camera import LIVE_FPS
from hydrart.stream.events import Event
from hydrart.stream.result import Result
from hydrart.stream.stream import Stream


class Page(Protocol):
    """The interface of a live page. hydrart.dashboard implements it."""

    def begin(self, title: str, governor: Governor, stats: Callable[[], dict[str, Any]]) -> None:
        """Show the stream, whose source is open now. stats: Stream.stats."""

    def result(self, result: Result, line: dict[str, Any]) -> None:
        """Take a result and its JSON line."""

    def event(self, event: Event) -> None:
        """Take a change of state."""

    def close(self) -> None:
        """End the page. No result follows."""


class Outputs:
    """Send results, events and messages to all outputs. Use it in a `with` block.

    - as_json: print a JSON line per result, and the summary as one.
    - as_csv: print a row of CSV per result instead. Without either, each result is a line of text, unless
      stdout is a terminal with the panel.
    - log, log_mb: the file for each line and event, and its largest size in MB.
    - save_video: video file to write; the stream must keep its frames.
    - on_change: print only when the label changes.
    - quiet: print nothing on stderr.

    Messages go to stderr. After start(), on a terminal, they go above the live panel.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        as_csv: bool = False,
        log: Path | None = None,
        log_mb: float = 10.0,
        save_video: Path | None = None,
        on_change: bool = False,
        quiet: bool = False,
    ) -> None:
        self._as_json, self._on_change, self._quiet = as_json, on_change, quiet
        self._csv = CsvRows() if as_csv else None
        self._log_to, self._log_mb, self._video_to = log, log_mb, save_video
        self._show: Any = None  # LivePanel or PlainLine
        self._log: RotatingLog | None = None
        self._video: VideoWriter | None = None
        self._label: str | None = None
        self._trouble: str | None = None  # last message of a stall or a loss; None while frames come
        self._waits_for: str | None = ""  # reason for a source that is not open yet; None once it is open
        self._page: Page | None = None
        self._notifier = Notifier()
        self._notifier.say(STATUS="getting ready")
        self._warnings = contextlib.ExitStack()
        # a line per frame would flood the journal
        self._as_text = not (as_json or as_csv or self._notifier.heard or sys.stdout.isatty())

    def __enter__(self) -> "Outputs":
        self._warnings.enter_context(warnings_to(self.say))
        return self

    def __exit__(self, *error: object) -> None:
        if self._show:
            self._show.end()
            self._show = None
        for output in (self._page, self._video, self._log, self._notifier, self._warnings):
            if output:
                output.close()

    def serve(self, page: Page) -> None:
        """Add a live page to the outputs, before start(). It is closed with the others."""
        self._page = page

    def start(self, stream: Stream, settings: dict[str, Any]) -> None:
        """Open the files and the panel, before the first result. settings: the first line of the log.

        Raises OSError if the log cannot be opened, SourceError or MissingExtraError if the video cannot be opened.
        """
        self._waits_for = None
        title = stream_title(stream)
        self.say(title)
        if self._page:
            self._page.begin(title, stream.governor, stream.stats)
        if self._log_to:
            self._log = RotatingLog(self._log_to, self._log_mb, {"run": settings}, self.say)
        if self._video_to:
            fps = stream.fps or stream.source_fps or LIVE_FPS
            self._video = VideoWriter(self._video_to, fps, stream.answers_all, self.say, stream.model.seen)
        lines = self._as_json or self._csv is not None
        if self._quiet or (lines and sys.stdout.isatty()):  # the panel and the lines would mix on the terminal
            return
        if self._notifier.heard and not self._on_change:  # a line per second would flood the journal
            return
        # late import, because rich loads slowly and only this branch needs it
        from hydrart.output.terminal import LivePanel, PlainLine

        largest_k = stream.model.heads[-1]
        if sys.stderr.isatty() and not self._on_change and not _dumb():
            self._show = LivePanel(largest_k, title)
        else:
            self._show = PlainLine(largest_k, self._on_change)

    def say(self, message: str) -> None:
        """Print a line for people on stderr. Any thread may call it."""
        if self._quiet:
            return
        if self._show:
            self._show.say(printable(message))
            return
        with contextlib.suppress(OSError):  # stderr may have no reader
            print(printable(message), file=sys.stderr, flush=True)

    def draw(self, line: str) -> None:
        """Print a line as it is on stderr, with the terminal's control codes, before start()."""
        if not self._quiet:
            with contextlib.suppress(OSError):
                print(line, file=sys.stderr, flush=True)

    def result(self, result: Result) -> None:
        """Send an answer to all. Raises BrokenPipeError (stdout has no reader), SourceError (the video fails)."""
        line = result.as_dict()
        if not self._on_change or line["label"] != self._label:
            self._print(line)
        self._label = line["label"]
        if self._log:
            self._log.write(line)
        if self._video:
            self._video.write(result)
        if self._page:
            self._page.result(result, line)
        if self._show:
            self._show.show(result)

    def alive(self) -> None:
        """Tell systemd that the loop runs, with or without frames."""
        self._notifier.alive()

    def event(self, event: Event) -> None:
        """Send a change of state to all outputs. An ordinary start or end, and a repeated message, print nothing."""
        if self._log:
            self._log.write({"event": event.as_dict()})
        if self._page:
            self._page.event(event)
        # hydrart itself waits for the source. So systemd does not need to wait, too.
        ready = {"READY": "1"} if event.state in ("running", "reconnecting") else {}
        self._notifier.say(STATUS=f"{event.state}: {event.reason}", **ready)
        if event.state == "opening" and self._waits_for not in (None, event.reason):
            self._waits_for = event.reason
            self.say(f"waiting: {event.reason}")
        elif event.state in ("stalled", "reconnecting"):
            message = f"{event.state}: {event.reason}"
            if message != self._trouble:  # a source that is lost for days fails every 30 s with the same message
                self.say(message)
            self._trouble = message
        elif event.state == "running" and self._trouble:
            self._trouble = None
            self.say(f"running again: {event.reason}")

    def summary(self, summary: dict[str, Any]) -> None:
        """Send the summary to all outputs at the end of the run. summary: Stream.stats()."""
        if self._show:
            self._show.end()
            self._show = None
        if self._log:
            self._log.write({"summary": summary})
        if self._as_json:
            _to_stdout(json_bytes({"summary": summary}))
        elif self._csv or self._as_text:  # stdout holds only answers
            for text in fitted(summary_text(summary), columns_of(sys.stderr)).splitlines():
                self.say(text)
        else:
            _to_stdout(f"{fitted(summary_text(summary), columns_of(sys.stdout))}\n".encode())

    def _print(self, line: dict[str, Any]) -> None:
        if self._as_json:
            _to_stdout(json_bytes(line))
        elif self._csv:
            _to_stdout(self._csv.rows(line))
        elif self._as_text:
            _to_stdout(f"{answer_text(line)}\n".encode())


def _to_stdout(data: bytes) -> None:
    """Write to stdout at once, in UTF-8 in every locale."""
    click.echo(data, nl=False)


def stream_title(stream: Stream) -> str:
    """Describe the stream in one line: source, its format, rate, classes."""
    parts = [stream.name, stream.detail, f"{stream.fps:g} fps" if stream.fps else ""]
    return ", ".join([*filter(None, parts), f"{len(stream.model.labels)} classes"])


def _dumb() -> bool:
    from rich.console import Console

    return Console(stderr=True).is_dumb_terminal
