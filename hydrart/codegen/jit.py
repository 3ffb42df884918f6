"""Numba functions that are compiled once per machine: a cache in the user's folder, keyed by content.

The key is a digest of the source that decides the machine code (see _sources), of the versions of Python, Numba and
llvmlite, of the CPU, and of the instruction set in use. The CPU counts with its features, as far as LLVM knows them. An
edit of that source or an upgrade compiles again; an edit elsewhere does not. cache.py says which files are read.
"""

import contextlib
import functools
import hashlib
import json
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
from numba import _dynfunc
from numba.core import compiler, sigutils, typing
from numba.core.compiler_lock import global_compiler_lock
from numba.core.environment import Environment
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys

from hydrart.codegen import cache, isa
from hydrart.codegen.pipeline import Inner
from hydrart.errors import SettingError
from hydrart.fork import free_in_children

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
        self._lock = free_in_children(threading.Lock())
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
                content = cache.read(*self._place())
                if content is None:
                    log.info("compiling the kernels for this CPU, once (%s)", self._function.__qualname__)
                    dispatcher.compile(self._signature)
                    (made,) = dispatcher.overloads.values()
                    cache.write(*self._place(), _to_bytes(made))
                else:
                    dispatcher.add_overload(_from_bytes(content, self._function, self._signature))
                dispatcher.disable_compile()
                self._dispatcher = dispatcher
            return self._dispatcher

    def is_kept(self) -> bool:
        """Whether the next start finds the function in the cache."""
        return cache.read(*self._place()) is not None

    def _place(self) -> tuple[str, str]:
        """The key and the name in the cache."""
        name = f"{self._function.__module__}.{self._function.__qualname__}.code"
        return key(self._function.__module__), name.replace("<", "").replace(">", "")


def _to_bytes(made: Any) -> bytes:
    """What the cache keeps of a Numba CompileResult: a line of JSON that names two symbols, then the object file.

    Numba's own format is no choice, because it is read by pickle, which runs what it reads.
    """
    if any(environment.consts for environment in made._find_referenced_environments()):
        raise AssertionError(f"{made.fndesc.qualname} refers to Python objects, which the cache cannot keep")
    symbols = {"function": made.fndesc.llvm_cpython_wrapper_name, "environment": made.fndesc.env_name}
    return json.dumps(symbols).encode() + b"\n" + bytes(made.library._get_compiled_object())


def _from_bytes(content: bytes, function: Callable[..., Any], signature: Any) -> Any:
    """The Numba CompileResult of a function, from what the cache kept of it."""
    line, _, code = content.partition(b"\n")
    symbols = json.loads(line)
    context = cpu_target.target_context
    codegen = context.codegen()
    arguments, returned = sigutils.normalize_signature(signature)
    with global_compiler_lock:
        rtsys.initialize(context)  # what the object file calls
        codegen._engine._ee.add_object_file(llvmlite.binding.ObjectFileRef.from_data(code))
        codegen._engine.finalize_object()
        address = codegen._engine.get_function_address(symbols["function"])
        environment = Environment(function.__globals__)
        environment.env_name = symbols["environment"]
        codegen.set_env(environment.env_name, environment)
    entry = _dynfunc.make_function(
        sys.modules[function.__module__], function.__name__, "", address, environment, (environment,)
    )
    return compiler.compile_result(
        target_context=context,
        signature=typing.signature(returned, *arguments),
        entry_point=entry,
        objectmode=False,
    )


@functools.cache
def key(module: str) -> str:
    """The name of the folder for the compiled functions of that module, with these versions, for this CPU."""
    digest = hashlib.sha256()
    for path in sorted(_sources(module)):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    digest.update(repr((sys.version_info[:3], numba.__version__, llvmlite.__version__)).encode())
    digest.update(repr(cpu_target.target_context.codegen().magic_tuple()).encode())
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
