"""The stack on which signal handlers run: libraries that replace it may leave one that is gone."""

import contextlib
import ctypes
from collections.abc import Iterator


class StackT(ctypes.Structure):
    """stack_t of sigaltstack(2)."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("bytes", ctypes.c_size_t))


def signal_stack() -> StackT:
    """The alternate signal stack of this thread. Without one, `flags` is SS_DISABLE."""
    stack = StackT()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the signal stack back at the end of the block.

    OpenVINO 2026 installs one of its own while it compiles a network, and unmaps it with the network. It puts back what
    it found only in the simplest order. The next Ctrl-C then ends the process with a segmentation fault, because
    Python's handlers run on the alternate stack.
    """
    before = signal_stack()
    try:
        yield
    finally:
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
