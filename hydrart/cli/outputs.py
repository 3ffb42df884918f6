"""Where the results of `hydrart run` go: stdout, terminal, log, video."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hydrart.cli.options import Number, print_json, printable
from hydrart.output.log import RotatingLog
from hydrart.output.notify import Notifier
from hydrart.output.summary import summary_text
from hydrart.output.video import VideoWriter
from hydrart.stream.events import Event
from hydrart.stream.result import Result

_OPTIONS = (
    click.option("--log", "log", type=click.Path(path_type=Path), default=None, help="File for every line and event."),
    click.option("--log-mb", type=Number(0.01, 1e6), default=10.0, help="Size at which the log begins a new file."),
    click.option("--save-video", type=click.Path(path_type=Path), default=None, help="Video file to write."),
    click.option("--on-change", is_flag=True, help="Print only when the label changes."),
    click.option("--quiet", is_flag=True, help="Nothing on stderr but errors."),
)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that Outputs reads."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Outputs:
    """Tells of results, events and messages wherever the options say. Use it in a `with` block.

    Until start() messages go to stderr; then, on a terminal, above the live panel.
    """

    def __init__(
        self, as_json: bool, log: Path | None, log_mb: float, save_video: Path | None, on_change: bool, quiet: bool
    ) -> None:
        self._as_json, self._on_change, self._quiet = as_json, on_change, quiet
        self._log_to, self._log_mb, self._video_to = log, log_mb, save_video
        self._show: Any = None  # LivePanel or PlainLine
        self._log: RotatingLog | None = None
        self._video: VideoWriter | None = None
        self._label: str | None = None
        self._lost = False
        self._page: Any = None  # Dashboard
        self._notifier = Notifier()
        self._notifier.say(STATUS="getting ready")

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, *error: object) -> None:
        if self._show:
            self._show.end()
            self._show = None
        for output in (self._page, self._video, self._log, self._notifier):
            if output:
                output.close()

    def serve(self, page: Any) -> None:
        """Tell a Dashboard, too."""
        self._page = page

    def start(self, title: str, largest_k: int, fps: float, whole: bool, run: dict[str, Any]) -> None:
        """Open files and panel. fps: of the video; whole: no frame may be left out; run: what the log begins with."""
        self.say(title)
        if self._log_to:
            self._log = RotatingLog(self._log_to, self._log_mb, {"run": run}, self.say)
        if self._video_to:
            self._video = VideoWriter(self._video_to, fps, whole, self.say)
        if self._quiet or (self._as_json and sys.stdout.isatty()):  # they would share the terminal
            return
        if self._notifier.heard and not self._on_change:  # a journal is no place for a line a second
            return
        # rich takes a moment to import, and only here is it needed
        from hydrart.output.terminal import LivePanel, PlainLine

        if sys.stderr.isatty() and not self._on_change and not _dumb():
            self._show = LivePanel(largest_k, title)
        else:
            self._show = PlainLine(largest_k, self._on_change)

    def say(self, message: str) -> None:
        """A line for people, from any thread."""
        if self._quiet:
            return
        if self._show:
            self._show.say(printable(message))
            return
        with contextlib.suppress(OSError):  # nobody may be listening
            click.echo(printable(message), err=True)

    def result(self, result: Result) -> None:
        """An answer. Raises BrokenPipeError when nobody reads stdout any more, and what writing a video raises."""
        line = result.as_dict()
        if self._as_json and (not self._on_change or line["label"] != self._label):
            print_json(line)
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
        """The loop goes round, with or without frames."""
        self._notifier.alive()

    def event(self, event: Event) -> None:
        """A change of state. The ordinary beginning and end are told elsewhere."""
        if self._log:
            self._log.write({"event": event.as_dict()})
        if self._page:
            self._page.event(event)
        # a source that gives nothing yet is waited for: by us, not by systemd
        ready = {"READY": "1"} if event.state in ("running", "reconnecting") else {}
        self._notifier.say(STATUS=f"{event.state}: {event.reason}", **ready)
        if event.state in ("stalled", "reconnecting"):
            self._lost = True
            self.say(f"{event.state}: {event.reason}")
        elif event.state == "running" and self._lost:
            self._lost = False
            self.say(f"running again: {event.reason}")

    def summary(self, summary: dict[str, Any]) -> None:
        """The end."""
        if self._show:
            self._show.end()
            self._show = None
        if self._log:
            self._log.write({"summary": summary})
        if self._as_json:
            print_json({"summary": summary})
        else:
            click.echo(summary_text(summary))


def _dumb() -> bool:
    from rich.console import Console

    return Console(stderr=True).is_dumb_terminal
