"""Numba functions that are compiled once per machine: a cache in the user's folder, keyed by content.

The key is the text of the module and of all that it imports from this package, the versions of Python, Numba and
llvmlite, and the instruction set in use. Numba adds the CPU with its features, as far as LLVM knows them. An edit or
an upgrade therefore never meets code of before, and an edit elsewhere compiles nothing again.
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching

from hydrart.codegen import isa
from hydrart.codegen.pipeline import Inner
from hydrart.errors import SettingError

# LLVM may reorder sums, but must not assume that numbers are finite
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz", "arcp"}}

_PACKAGE = Path(__file__).parents[1]
_IMPORT = re.compile(r"^from (hydrart[\w.]*) import (\([^)]*|.*)", re.MULTILINE)

kernel = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=Inner, **_OPTIONS)
"""For functions that compiled ones call: compiled and cached as a part of those."""

log = logging.getLogger(__name__)


class compiled:  # noqa: N801 - a decorator
    """A function of one explicit signature, compiled or loaded from the cache when it is first needed.

    ready() does that and returns the Numba function. Whatever is compiled is told once to the
    logger of this module.
    """

    def __init__(self, signature: Any) -> None:
        self._signature = signature
        self._lock = threading.Lock()
        self._dispatcher: Any = None

    def __call__(self, function: Callable[..., Any]) -> "compiled":
        self._function = function
        functools.update_wrapper(self, function)
        return self

    def ready(self) -> Any:
        """The compiled function."""
        with self._lock:
            if self._dispatcher is None:
                dispatcher = numba.njit(no_cfunc_wrapper=True, **_OPTIONS)(self._function)
                dispatcher._cache = _Cache(self._function)
                dispatcher.compile(self._signature)
                dispatcher.disable_compile()
                self._dispatcher = dispatcher
            return self._dispatcher


def cache_folder() -> Path:
    """Where compiled code is kept: $HYDRART_CACHE, else hydrart/ in the user's cache folder (XDG)."""
    if own := os.environ.get("HYDRART_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hydrart"


@functools.cache
def key(module: str) -> str:
    """The name of the folder for what is compiled in that module, with these versions, for this CPU."""
    digest = hashlib.sha256()
    for path in sorted(_sources(module)):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    digest.update(repr((sys.version_info[:3], numba.__version__, llvmlite.__version__)).encode())
    # LLVM does not know every ARM core, nor all its features: two may look alike to it and take other kernels
    with contextlib.suppress(SettingError):  # none of ours: what remains compiles for any
        digest.update(isa.choose().name.encode())
    return digest.hexdigest()[:24]


def _sources(module: str) -> set[Path]:
    """The files that decide what a module compiles to: its own, and those of our package that it imports, and so on."""
    found: set[Path] = set()
    waiting = [module, __name__]
    while waiting:
        path = _PACKAGE.joinpath(*waiting.pop().split(".")[1:]).with_suffix(".py")
        if path in found or not path.is_file():
            continue
        found.add(path)
        for package, names in _IMPORT.findall(path.read_text("utf-8")):
            if package != "hydrart.errors":  # sentences for people are in no kernel
                waiting += [package, *(f"{package}.{name.strip()}" for name in names.strip("(").split(","))]
    return found


@functools.cache
def _unwritable(folder: str, reason: str) -> None:
    warnings.warn(
        f"compiled code cannot be kept in {folder} ({reason}), so that every start compiles again: "
        "set HYDRART_CACHE to a folder that may be written",
        stacklevel=2,
    )


class _Locator(caching._CacheLocator):
    def __init__(self, function: Callable[..., Any]) -> None:
        self._py_file = function.__code__.co_filename
        self._key = key(function.__module__)

    def get_cache_path(self) -> str:
        return str(cache_folder() / self._key)

    def get_source_stamp(self) -> str:
        return self._key

    def get_disambiguator(self) -> str:
        return "0"


class _Impl(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable[..., Any]) -> None:  # not super's: it looks for other locators
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function)
        self._filename_base = self.get_filename_base(f"{function.__module__}.{function.__qualname__}", sys.abiflags)


class _Cache(caching.FunctionCache):
    """Numba's own, in our folder; what cannot be read is compiled again, what cannot be written costs one warning."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged file raises whatever pickle and LLVM come upon
            found = None
        if found is None:
            log.info("compiling the kernels for this CPU, once (%s)", self._py_func.__qualname__)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _unwritable(self.cache_path, error.strerror or str(error))
