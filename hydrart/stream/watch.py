"""Keep a source running: detect silence, open the source again, and report each change."""

import contextlib
import ctypes
import threading
import time
from collections.abc import Callable, Generator

from hydrart.errors import HydrartError, SourceError
from hydrart.source.opener import Source
from hydrart.stream.capture import Capture
from hydrart.stream.events import Event
from hydrart.stream.frame import Frame, asleep_s

_TICK_S = 0.5  # seconds between two checks during a wait
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_MOST_STUCK = 3  # limit of reads that never return, because each holds a thread and a device
_SLEPT_S = 1.0


class Watch:
    """The frames of a source that may fail.

    - source: the opened source.
    - reopen: opens it again. None: a loss raises.
    - capture: makes the thread that reads. Its arguments are the opening function and the first frame's number.
    - patience_s: seconds of silence after which a live source counts as lost.
    - stop: an event that ends frames().
    - on_event: called with each Event.
    - on_wait: called at least twice a second during a wait for a frame.
    """

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source] | None,
        capture: Callable[[Callable[[], Source], int], Capture],
        *,
        patience_s: float,
        stop: threading.Event,
        on_event: Callable[[Event], None],
        on_wait: Callable[[], None],
    ) -> None:
        self.source = source
        self.state = "opening"
        self.losses = 0
        self._reopen = reopen
        self._make = capture
        self._patience_s = patience_s
        self._stop = stop
        self._on_event = on_event
        self._on_wait = on_wait
        self._capture: Capture | None = None
        self._stuck: list[Capture] = []
        self._skipped = 0
        self.left = ""
        """The sentence of leave(); empty before."""

    @property
    def seen(self) -> int:
        """Number of frames from the source so far."""
        return self._capture.next_number if self._capture else 0

    @property
    def skipped(self) -> int:
        """Number of unreadable pictures so far."""
        return self._skipped + self.source.skipped

    def stop(self) -> None:
        """End frames(). Any thread may call it."""
        if self._capture is not None and not self.left:
            self._capture.stop()

    def close(self) -> None:
        """Release the source. Any thread may call it. It waits at most 6 s for a read that hangs."""
        if self._capture is None:
            self.source.close()
            return
        self._capture.stop()
        if self._capture not in self._stuck:
            self._capture.join(6)  # FFmpeg gives a silent network up after 5 s
            self._stuck += [self._capture] * self._capture.alive

    def leave(self, why: str) -> None:
        """Leave the source to the parent, in the child of a fork. From now on frames() raises SourceError(why).

        The child shares the parent's connection or device: to close the source here would end it there. So the child
        never frees it.
        """
        self.left = why
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def check_left(self) -> None:
        """Raise SourceError after leave()."""
        if self.left:
            raise SourceError(self.left)

    def frames(self) -> Generator[Frame, None, None]:
        """Yield the frames, across all losses. Raises SourceError if the source is lost for good."""
        self._tell("opening", self.source.name)
        why = "closed"
        try:
            self._capture = self._start(lambda: self.source, 0)
            pause = _FIRST_PAUSE_S
            while True:
                try:
                    for frame in self._read(self._capture):
                        pause = _FIRST_PAUSE_S
                        yield frame
                    why = "stopped" if self._stop.is_set() else "no more frames"
                    return
                except (HydrartError, OSError) as error:
                    if self.left or not self.source.live or self._reopen is None or self._stop.is_set():
                        raise
                    loss = str(error)
                self._lose(self._capture)
                self._tell("reconnecting", f"{loss}; next try in {pause:g} s")
                if self._pause(pause):
                    why = "stopped"
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._capture = self._start(self._reopen, self._capture.next_number)
        except Exception as error:
            why = str(error)
            raise
        finally:
            self._tell("ended", why)

    def _start(self, opening: Callable[[], Source], first: int) -> Capture:
        capture = self._make(opening, first)
        if self._stop.is_set():  # stop() may have come before this reader existed
            capture.stop()
        return capture

    def _read(self, capture: Capture) -> Generator[Frame, None, None]:
        """Yield the frames of one opening. Raises the source's own error, or SourceError after a silence."""
        while True:
            frame = self._take(capture)
            if frame is None:
                return
            if self.source.live and asleep_s() - frame.asleep_s > _SLEPT_S:
                slept = asleep_s() - frame.asleep_s
                self._tell("stalled", f"the machine slept for {slept:.0f} s: the frame from before is left out")
                continue
            if capture.source is not None and capture.source is not self.source:
                self._skipped += self.source.skipped
                self.source = capture.source
            if self.state != "running":
                self._tell("running", self.source.detail or self.source.name)
            yield frame

    def _take(self, capture: Capture) -> Frame | None:
        """Return the next frame, or None at the end. Raises the source's own error, or SourceError after a silence."""
        tick = min(_TICK_S, self._patience_s / 5)
        silent = 0.0
        opened = capture.source is not None
        while True:
            self.check_left()
            before = time.monotonic()
            with contextlib.suppress(TimeoutError):
                return capture.mailbox.take(tick)
            self._on_wait()
            if not opened and capture.source is not None:
                silent, opened = 0.0, True
            if not self.source.live:
                continue
            # A jump of the clock, or a pause of this process, does not count as silence.
            silent += min(time.monotonic() - before, 2 * tick)
            # Opening may take longer. It has several steps, each with its own limit.
            if silent > self._patience_s * (1 if opened else 6):
                raise SourceError(f"{self.source.name} gave no frame for {silent:.0f} s: check its cable and supply")
            if self.state == "running" and silent > self._patience_s / 5:
                self._tell("stalled", f"no frame for {silent:.1f} s")

    def _pause(self, seconds: float) -> bool:
        """Wait. Returns True if `stop` was set."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._stop.wait(min(left, _TICK_S)):
            self._on_wait()
        return self._stop.is_set()

    def _lose(self, capture: Capture) -> None:
        """Abandon a failed reader. Raises SourceError if too many of them hang."""
        self.losses += 1
        capture.stop()
        capture.join(0.1)
        self._stuck = [*(stuck for stuck in self._stuck if stuck.alive), *[capture] * capture.alive]
        if len(self._stuck) >= _MOST_STUCK:
            raise SourceError(
                f"{self.source.name} hangs: {len(self._stuck)} reads never returned; unplug it, or restart its driver"
            )

    def _tell(self, state: str, reason: str) -> None:
        self.state = state
        self._on_event(Event(state, reason, time.monotonic(), time.time()))
