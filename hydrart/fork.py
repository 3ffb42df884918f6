"""What is shared between threads, in the child of a fork.

The child has a copy of every lock and of the thread that called fork(), but not of the other threads
(https://man7.org/linux/man-pages/man2/fork.2.html). A lock that one of those held would stay locked for ever.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

Shared = TypeVar("Shared", threading.Event, threading.Condition, threading.Lock)

_shared: "weakref.WeakSet[Any]" = weakref.WeakSet()
_awaited: "weakref.WeakSet[Any]" = weakref.WeakSet()
_calls: "set[weakref.WeakMethod[Callable[[], None]]]" = set()
_held: dict[int, list[Any]] = {}  # by the thread that forks


def free_in_children(lock: Shared, *, awaited: bool = False) -> Shared:
    """Return the lock, condition or event itself. It will be free in every child; an event stays set.

    awaited: a fork waits until the lock is free, because it guards what only a call that ended leaves whole.
    """
    _shared.add(lock)
    if awaited:
        _awaited.add(lock)
    return lock


def call_in_children(method: Callable[[], None]) -> None:
    """Call the bound method in every child, while its object lives: another thread's change may be half made."""
    _calls.add(weakref.WeakMethod(method, _calls.discard))


def _before_fork() -> None:
    held = _held[threading.get_ident()] = sorted(_awaited, key=id)  # one order for all: no two wait for each other
    for lock in held:
        lock.acquire()


def _after_fork_in_parent() -> None:
    for lock in _held.pop(threading.get_ident(), []):
        lock.release()


def _after_fork_in_child() -> None:
    _held.clear()
    for lock in list(_shared):
        lock._at_fork_reinit()  # as threading, logging and concurrent.futures do with theirs
    for reference in list(_calls):
        if (method := reference()) is not None:
            method()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
