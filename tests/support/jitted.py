"""Numba's compiler for tests: functions that call the kernels, which Python cannot call."""

from collections.abc import Callable
from typing import TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def jitted(function: Function) -> Function:
    """The function compiled when it is first called, not cached; other threads run beside it."""
    compiled: Function = numba.njit(nogil=True)(function)
    return compiled
