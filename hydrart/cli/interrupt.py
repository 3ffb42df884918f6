"""Ctrl-C and SIGTERM end a command whatever it is doing.

Python raises KeyboardInterrupt wherever the main thread happens to be. In a finalizer, in a callback from C, or in C
code that takes any error for a no, it gets lost; out of an import it may come as another error. Importing Numba and
compiling are full of such places. So here it is raised again until somebody handles it.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

AGAIN_S = 0.5

_pending = False  # a signal came, and nobody has handled it


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, either signal raises KeyboardInterrupt; it comes out of here whatever became of it inside."""
    global _pending
    _pending = False
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        # a shell without job control has what it starts in the background ignore Ctrl-C, which is meant for others
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _interrupt)
    tell = sys.unraisablehook

    def tell_others(unraisable: Any) -> None:
        if not _pending:  # else it is the lost KeyboardInterrupt, or a consequence of it
            tell(unraisable)

    sys.unraisablehook = tell_others
    try:
        yield
    except BaseException:
        if not _pending:
            raise
    finally:
        if _pending:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = tell
    if _pending:
        raise KeyboardInterrupt


def handled() -> None:
    """Who has caught KeyboardInterrupt and goes on, in order to end well, calls this at once."""
    global _pending
    signal.setitimer(signal.ITIMER_REAL, 0)
    _pending = False


def _interrupt(number: int, frame: object) -> None:
    global _pending
    _pending = True
    signal.signal(signal.SIGALRM, _again)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
    raise KeyboardInterrupt


def _again(number: int, frame: object) -> None:
    """Not while an `except`, `finally` or `with` deals with it: cleaning up takes the time that it takes."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt
