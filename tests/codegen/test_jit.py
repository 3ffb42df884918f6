"""The cache of compiled functions: what its key depends on, and what happens to files that are damaged."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydrart.codegen import isa, jit

PACKAGE = Path(jit.__file__).parents[1]


def keys() -> list[str]:
    """The keys of the kernels and of the resize."""
    jit.key.cache_clear()
    return [jit.key(module) for module in ("hydrart.engine.kernels.forward", "hydrart.picture.resize")]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package, to make keys of."""
    folder = tmp_path / "hydrart"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with monkeypatch.context() as patch:
        patch.setattr(jit, "_PACKAGE", folder)
        yield folder
    jit.key.cache_clear()


@pytest.mark.parametrize(
    ("file", "kernels", "resize"),
    [
        ("codegen/isa.py", True, True),
        ("codegen/jit.py", True, True),
        ("codegen/cache.py", True, True),
        ("codegen/pipeline.py", True, True),
        ("codegen/emit.py", True, False),
        ("codegen/records.py", True, False),
        ("codegen/emit_epilogue.py", True, False),
        ("codegen/emit_amx.py", True, False),
        ("engine/kernels/forward.py", True, False),
        ("engine/kernels/state.py", True, False),
        ("engine/kernels/threads.py", True, False),
        ("picture/resize.py", False, True),
        ("picture/preprocess.py", False, False),
        ("engine/native.py", False, False),
        ("engine/weights.py", False, False),
        ("engine/__init__.py", False, False),
        ("engine/kernels/__init__.py", False, False),
        ("codegen/__init__.py", False, False),
        ("format/roles.py", False, False),
        ("model.py", False, False),
        ("errors.py", False, False),
        ("__init__.py", False, False),
    ],
)
def test_an_edit_compiles_again_what_it_changes(copy: Path, file: str, kernels: bool, resize: bool) -> None:
    before = keys()
    path = copy / file
    path.write_text(path.read_text("utf-8") + "\n# an edit\n", "utf-8")
    after = keys()
    assert [old != new for old, new in zip(before, after, strict=True)] == [kernels, resize]


def parsed(source: str, module: str, is_package: bool) -> set[str]:
    """What _imported() should find, by Python's own parser."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                found.add(submodule if jit._file_of(submodule) else base)
    return {name for name in found if jit._file_of(name)} - {"hydrart.errors"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_is_overlooked(path: Path) -> None:
    source, module = path.read_text("utf-8"), jit._name_of(path)
    assert jit._imported(source, module) >= parsed(source, module, path.name == "__init__.py")


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from . import isa", "hydrart.codegen.jit"),
        ("from .isa import choose", "hydrart.codegen.jit"),
        ("from ..codegen import isa, emit", "hydrart.engine.native"),
        ("from .kernels import gemm", "hydrart.engine"),
        ("from .codegen.isa import (\n    choose,\n    ISAS as sets,\n)", "hydrart"),
        ("import hydrart.codegen.isa, os", "hydrart.model"),
        ("import hydrart.codegen.isa as isa  # chosen", "hydrart.model"),
        ("def f():\n    from hydrart.codegen import isa  # late", "hydrart.model"),
        ("from hydrart.engine import make_engine", "hydrart.model"),
        ("import numpy\nfrom os import path", "hydrart.model"),
    ],
)
def test_every_form_of_import_is_found(source: str, module: str) -> None:
    expected = parsed(source, module, module in ("hydrart", "hydrart.engine"))
    assert jit._imported(source, module) == expected
    assert expected or "numpy" in source


def test_the_key_has_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for here in (i for i in isa.ISAS if isa.host_features().issuperset(i.needs)):
        monkeypatch.setenv("HYDRART_ISA", here.name)
        jit.key.cache_clear()
        found.add(jit.key("hydrart.engine.kernels.forward"))
    monkeypatch.undo()
    jit.key.cache_clear()
    assert len(found) == sum(isa.host_features().issuperset(i.needs) for i in isa.ISAS)


def test_a_damaged_cache_is_compiled_again(tmp_path: Path) -> None:
    """The resize: it compiles in a second."""
    code = (
        "import logging, numpy as np; logging.basicConfig(level=logging.INFO)\n"
        "from hydrart.format.preprocessing import Preprocessing\n"
        "from hydrart.picture.preprocess import preprocess\n"
        "print(preprocess(np.zeros((8, 8, 3), np.uint8), Preprocessing(8)).sum())"
    )

    def run() -> tuple[str, bool]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=PACKAGE.parent,
            env={"HYDRART_CACHE": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, bool(re.search("compiling the kernels", done.stderr))

    first, compiled = run()
    assert compiled
    assert run() == (first, False)
    (file,) = tmp_path.rglob("*.code")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert run() == (first, True)
    assert run() == (first, False)
