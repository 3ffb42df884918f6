"""Numba's compiler for tests. Its functions call the kernels, which Python cannot call."""

from collections.abc import Callable
from typing import TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def jitted(function: Function) -> Function:
    """Compile the function at its first call, without a cache. It releases the GIL."""
    compiled: Function = numba.njit(nogil=True)(function)
    return compiled
