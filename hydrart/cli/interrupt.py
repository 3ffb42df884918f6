"""Ctrl-C and SIGTERM end a command whatever it is doing.

Python raises KeyboardInterrupt wherever the main thread happens to be. A finalizer, a callback from C, and C code that
takes any error for "no" lose it. An import may turn it into another error. Importing Numba and compiling are full of
such places. This module therefore raises it again until the program handles it.
"""

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import Any

AGAIN_S = 0.5  # seconds between two attempts

_pending = False  # whether a signal came that the program has not handled yet


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt from the block for either signal, even where the block lost or changed the error."""
    global _pending
    _pending = False
    before: dict[signal.Signals, Any] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        # a shell without job control starts background programs with Ctrl-C ignored: it is meant for other programs
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _interrupt)
    tell = sys.unraisablehook

    def tell_others(unraisable: Any) -> None:
        if not _pending:  # after a signal it is the lost KeyboardInterrupt, or a consequence of it
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
    """Stop raising KeyboardInterrupt again. Code that catches it in order to end in good order calls this first."""
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
    """Raise again, except while an `except`, `finally` or `with` is cleaning up after a KeyboardInterrupt."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt
