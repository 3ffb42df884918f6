"""Numba functions that are compiled once per machine: a cache in the user's folder, keyed by content.

The key is a digest of the source that decides the machine code (see _sources), the versions of Python, Numba and
llvmlite, and the instruction set in use. Numba adds the CPU with its features, as far as LLVM knows them. An edit of
that source or an upgrade compiles again; an edit elsewhere does not.
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import sys
import threading
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
# "from X import a, b", with or without parentheses, and "import X, Y"; X may be relative
_FROM = re.compile(r"^[ \t]*from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*|[^\n#]*)", re.MULTILINE)
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([^\n#]*)", re.MULTILINE)
# they decide no machine code: errors are sentences for people
_APART = frozenset({"hydrart.errors"})

kernel = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=Inner, **_OPTIONS)
"""For functions that compiled ones call: compiled and cached as a part of those."""

log = logging.getLogger(__name__)


class compiled:  # noqa: N801 - a decorator
    """A function of one explicit signature, compiled or loaded from the cache when it is first needed.

    ready() does that and returns the Numba function. The logger of this module reports each compilation.
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
    """The name of the folder for the compiled functions of that module, with these versions, for this CPU."""
    digest = hashlib.sha256()
    for path in sorted(_sources(module)):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    digest.update(repr((sys.version_info[:3], numba.__version__, llvmlite.__version__)).encode())
    # LLVM does not know every ARM core and feature: two CPUs may look alike to it and take different kernels
    with contextlib.suppress(SettingError):  # a CPU without kernels still compiles the resize
        digest.update(isa.choose().name.encode())
    return digest.hexdigest()[:24]


def _sources(module: str) -> set[Path]:
    """The files that decide the machine code of a module: its own, those of our package that it imports, and so on.

    A package's __init__.py is among them where a name is imported from it. One that only runs on the way to a module
    decides nothing.
    """
    found: set[Path] = set()
    waiting = [module, __name__]
    while waiting:
        path = _file_of(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        waiting += _imported(path.read_text("utf-8"), _name_of(path))
    return found


def _imported(source: str, module: str) -> set[str]:
    """The modules and packages of ours that a module with this source imports names from."""
    names = set[str]()
    for origin, imported in _FROM.findall(source):
        dots = len(origin) - len(origin.lstrip("."))
        if dots:  # from the module's package, or from one above
            parts = module.split(".")
            base = parts[: len(parts) - dots + (_file_of(module, package=True) is not None)]
            origin = ".".join([*base, *filter(None, [origin[dots:]])])
        if origin.split(".")[0] != _PACKAGE.name:
            continue
        for name in filter(None, (name.split(" as ")[0].strip() for name in imported.strip("(").split(","))):
            submodule = f"{origin}.{name}"
            names.add(submodule if _file_of(submodule) else origin)
    for modules in _IMPORT.findall(source):
        names.update(name for part in modules.split(",") if _file_of(name := part.split(" as ")[0].strip()))
    return names - _APART


def _file_of(module: str, package: bool = False) -> Path | None:
    """The file of one of our modules or packages (only packages, if so), None where there is none of that name."""
    first, *rest = module.split(".")
    if first != _PACKAGE.name:
        return None
    place = _PACKAGE.joinpath(*rest)
    candidates = [place / "__init__.py"] if package else [place.with_suffix(".py"), place / "__init__.py"]
    return next((path for path in candidates if path.is_file()), None)


def _name_of(path: Path) -> str:
    """The module that lies in a file."""
    parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def _unwritable(folder: str, reason: str) -> None:
    log.warning(
        "compiled code cannot be kept in %s (%s), so that every start compiles again: "
        "set HYDRART_CACHE to a folder that may be written",
        folder,
        reason,
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
    """Numba's cache in our folder. A file that cannot be read is compiled again; a folder that cannot be written to
    costs one warning."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged file makes pickle and LLVM raise anything
            found = None
            with contextlib.suppress(OSError):
                self.flush()
        if found is None:
            log.info("compiling the kernels for this CPU, once (%s)", self._py_func.__qualname__)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _unwritable(self.cache_path, error.strerror or str(error))
