"""Repair locks and shared objects in the child of a fork.

The child has a copy of every lock, but only of the thread that called fork()
(https://man7.org/linux/man-pages/man2/fork.2.html). Without a repair, another thread's lock stays locked.
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
_held: dict[int, list[Any]] = {}  # thread that forks -> the locks that it holds


def free_in_children(lock: Shared, *, awaited: bool = False) -> Shared:
    """Register a lock, condition or event, and return it. It is free in every child; an event stays set.

    awaited: a fork waits until the lock is free, because its data are whole only between calls.
    """
    _shared.add(lock)
    if awaited:
        _awaited.add(lock)
    return lock


def call_in_children(method: Callable[[], None]) -> None:
    """Call the bound method in every child while its object lives. It repairs another thread's unfinished change."""
    _calls.add(weakref.WeakMethod(method, _calls.discard))


def _before_fork() -> None:
    held = _held[threading.get_ident()] = sorted(_awaited, key=id)  # one order prevents a deadlock
    for lock in held:
        lock.acquire()


def _after_fork_in_parent() -> None:
    for lock in _held.pop(threading.get_ident(), []):
        lock.release()


def _after_fork_in_child() -> None:
    _held.clear()
    for lock in list(_shared):
        lock._at_fork_reinit()  # threading, logging and concurrent.futures do the same
    for reference in list(_calls):
        if (method := reference()) is not None:
            method()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
