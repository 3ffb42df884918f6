"""Read one source in a separate thread, so that a blocked read delays nothing else."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from hydrart.background import Background
from hydrart.errors import SourceError
from hydrart.fork import free_in_children
from hydrart.source.opener import Source
from hydrart.source.shot import Shot
from hydrart.stream.frame import Frame, asleep_s
from hydrart.stream.mailbox import Mailbox
from hydrart.stream.pace import RateKeeper

_END = object()  # what stands for a frame after the last one
Expect = Callable[[int, int], None]
Prepare = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], float]]


class Capture:
    """Put the frames of one source into `mailbox` until the end, an error or stop(). Then close the source.

    - opening: called in the thread. It returns the source.
    - first: the number of the first frame.
    - lossy: see Mailbox.
    - fps: frames per second for a source that waits, such as a file; None: as fast as possible.
    - expect: called with height and width before the first picture of each size goes into the mailbox.
    - prepare: makes the network's input in this thread; None: the loop makes it.
    """

    def __init__(
        self,
        opening: Callable[[], Source],
        *,
        first: int = 0,
        lossy: bool = True,
        fps: float | None = None,
        expect: Expect | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self.mailbox = Mailbox(lossy)
        self.source: Source | None = None
        self.seen = 0
        self._opening = opening
        self._first = first
        self._fps = fps
        self._expect = expect
        self._prepare = prepare
        self._shape: tuple[int, ...] = ()
        self._stop = free_in_children(threading.Event())
        self._thread = Background("capture", self._run)
        self._thread.start()

    @property
    def next_number(self) -> int:
        """The number of the next frame."""
        return self._first + self.seen

    @property
    def alive(self) -> bool:
        """Whether the thread still runs. Its read may never return."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Read no more frames. Any thread may call it."""
        self._stop.set()
        self.mailbox.close()
        if self.source is not None:
            self.source.close()

    def join(self, timeout: float) -> None:
        """Wait for the thread, at most `timeout` seconds. A thread that hangs in a read closes its source later."""
        self._thread.join(timeout)

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self.source = self._opening()
            self._read(self.source)
        except Exception as failure:  # take() raises it in the loop's thread
            error = failure
        except BaseException as failure:  # sys.exit() in a program's own source would end the thread in silence
            error = SourceError(f"the source ended with {type(failure).__name__}: return, or raise another error")
        finally:
            if self.source is not None:
                with contextlib.suppress(Exception):  # the source may be broken
                    self.source.close()
            self.mailbox.close(error)

    def _read(self, source: Source) -> None:
        rate = RateKeeper(self._fps, self._stop)
        shots: Iterator[object] = iter(source.shots())
        for number in itertools.count(self._first):
            start = time.monotonic()
            shot = _END if self._stop.is_set() else next(shots, _END)
            end = time.monotonic()
            if shot is _END or not rate.wait():
                return
            if not isinstance(shot, Shot) or not _is_rgb(shot.picture):
                wanted = "yield hydrart.Shot(picture), its picture uint8 RGB [H, W, 3]"
                raise SourceError(f"{source.name} gives a {type(shot).__name__} that is no frame: {wanted}")
            self.seen += 1
            if self._expect and shot.picture.shape != self._shape:
                self._shape = shot.picture.shape
                self._expect(*self._shape[:2])
            prepared = self._prepare(shot.picture) if self._prepare else None
            taken = time.monotonic() if self._fps else end  # a file's frame counts as captured when it is due
            t_capture = taken if shot.t_capture is None else shot.t_capture
            work_s = end - (start if shot.t_capture is None else shot.t_capture)
            frame = Frame(
                shot.picture,
                number,
                t_capture,
                time.time() - (time.monotonic() - t_capture),
                max(work_s, 0) * 1e3,
                asleep_s(),
                prepared,
                shot.stamp,
                time.monotonic(),
                shot.file,
            )
            if not self.mailbox.put(frame):
                return


def _is_rgb(picture: object) -> bool:
    """Whether a picture is uint8 RGB [H, W, 3]. A program's own source may give anything."""
    return (
        isinstance(picture, np.ndarray)
        and picture.dtype == np.uint8
        and picture.ndim == 3
        and picture.shape[2] == 3
        and picture.size > 0
    )
