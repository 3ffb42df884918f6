"""SIGBUS as one sentence: a file shrank while it was mapped, so that its bytes are gone."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable
from typing import Any

from hydrart.output.notify import Notifier
from hydrart.output.text import printable

_SA_SIGINFO = 4
_ADDRESS_AT = 16  # of si_addr in siginfo_t of 64-bit Linux: sigaction(2)

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _SigAction(ctypes.Structure):
    """struct sigaction of glibc and musl on 64-bit Linux."""

    _fields_ = (
        ("handler", _Handler),
        ("mask", ctypes.c_byte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def explain_bus_errors() -> None:
    """From now on SIGBUS in a mapped file ends this process with exit code 1 and a sentence that names the file.

    Python's own handlers run between two of its instructions. So they would never run: the instruction that failed is
    tried again at once. This one runs in the thread that failed. There it may take the lock of the interpreter, since
    mapped bytes are read in loops of NumPy and of the kernels, never while memory is allocated.
    """
    global _action
    _action = _SigAction(_ended, flags=_SA_SIGINFO)
    ctypes.CDLL(None).sigaction(int(signal.SIGBUS), ctypes.byref(_action), None)


def _mapped_at(address: int) -> str | None:
    """The file that is mapped there. None for memory without a file."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            first, last = (int(end, 16) for end in fields[0].split("-"))
            if first <= address < last:
                return fields[5] if len(fields) == 6 and fields[5].startswith("/") else None
    return None


def _end(number: int, info: int, context: int) -> None:
    path = None
    with contextlib.suppress(Exception):  # nothing may be raised here
        path = _mapped_at(ctypes.c_void_p.from_address(info + _ADDRESS_AT).value or 0)
    if path is None:
        signal.signal(number, signal.SIG_DFL)  # the instruction is tried again, and ends the process as usual
        return
    why = f"{path} shrank while it was in use: replace it with mv, not with cp, or read it with --no-mmap; try again"
    with contextlib.suppress(Exception):
        os.write(2, f"\nhydrart: {printable(why)}\n".encode(errors="replace"))
        Notifier().say(STATUS=why)
    os._exit(1)


_ended: Callable[..., Any] = _Handler(_end)
_action: _SigAction
