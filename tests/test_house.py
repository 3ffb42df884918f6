"""The house: what may import what, how heavy an import is, how long files and calls are, and what the wheel holds.

`lint-imports` checks the directions of all imports in the source. Here the rooms are imported, each alone.
"""

import ast
import configparser
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = 400  # of a file
PARAMETERS = 8  # that may be passed by position
HEAVY = {"aiohttp", "av", "click", "cv2", "llvmlite", "matplotlib", "nncf", "numba", "onnx", "onnxruntime", "openvino"}
HEAVY |= {"rich", "safetensors", "threadpoolctl", "torch"}
# modules without a test file of their own name, and the reason
UNTESTED = {
    "__main__.py": "a call of cli/main.py; tests/cli/test_main.py runs it",
    "convert/network.py": "an interface, which convert/nested_vit.py and train/convnet.py carry out",
    "source/shot.py": "a record without code",
}
# hydrart/format describes these, and hydrart/engine/kernels numbers them, because machine code takes no objects
NUMBERED = {"FP32", "BF16", "INT8", "PATCH", "QKV", "PROJ", "FC1", "FC2"}
ALONE = """
import importlib, pkgutil, sys, types
package = types.ModuleType("hydrart")
package.__path__, package.__version__ = [sys.argv[1] + "/hydrart"], ""  # its __init__ imports most rooms
sys.modules["hydrart"] = package
room = importlib.import_module("hydrart." + sys.argv[2])
for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
    importlib.import_module(module.name)
print(*sys.modules)
"""


def config() -> configparser.ConfigParser:
    found = configparser.ConfigParser()
    found.read(ROOT / "setup.cfg")
    return found


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imported(*code: str) -> set[str]:
    """The modules that a new process has after this code, which prints them."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", *code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("codegen", {"PIL", "cv2", "torch"}),
        ("format", {"PIL", "cv2", "numba", "llvmlite", "torch"}),
        ("governor", {"PIL", "cv2", "numba", "llvmlite", "torch"}),
        ("device", {"PIL", "cv2", "numba", "llvmlite", "torch"}),
        ("lab", {"PIL", "cv2", "numba", "llvmlite", "torch"}),
        ("picture", {"cv2", "torch"}),
        ("engine", {"PIL", "cv2", "torch"}),
    ],
)
def test_a_room_alone_brings_only_those_below(room: str, never: set[str]) -> None:
    layers = [layer for layer in config()["importlinter:contract:house"]["layers"].split("\n") if layer]
    own = next(i for i, layer in enumerate(layers) if room in layer.split(" | "))
    allowed = {room, *(name for layer in layers[own + 1 :] for name in layer.split(" | "))}
    found = imported(ALONE, str(ROOT), room)
    rooms = {name.split(".")[1] for name in found if name.startswith("hydrart.")}
    assert rooms <= allowed
    assert not found & never


@pytest.mark.parametrize(("module", "may"), [("hydrart", set()), ("hydrart.cli.main", {"click"})])
def test_imports_are_light(module: str, may: set[str]) -> None:
    found = imported(f"import sys, {module}; print(*sys.modules)")
    assert found & HEAVY <= may
    assert "numpy.random" not in found, "it is the slowest part of NumPy, and nothing needs it yet"


def test_files_are_short() -> None:
    page = [path for path in (ROOT / "hydrart/dashboard").iterdir() if path.suffix in (".html", ".css", ".js")]
    files = [*sources("hydrart", "tools", "tests", "examples"), *page]
    long = {str(path): count for path in files if (count := len(path.read_text("utf-8").splitlines())) > LINES}
    assert not long


def positional(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_calls_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in sources("hydrart", "tools", "tests", "examples")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and positional(node) > PARAMETERS
    ]
    assert not long


def test_parameters_are_counted() -> None:
    method, function = ast.parse("def a(self, x, /, y, *, z): ...\ndef b(x, y=1, *rest): ...").body
    assert isinstance(method, ast.FunctionDef) and isinstance(function, ast.FunctionDef)
    assert (positional(method), positional(function)) == (2, 2)


def test_a_class_s_name_means_one_thing() -> None:
    names = Counter(
        node.name
        for path in sources("hydrart", "tools")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def names_of(target: ast.expr) -> list[str]:
    """The names that an assignment to this target binds."""
    if isinstance(target, ast.Tuple | ast.List):
        return [name for part in target.elts for name in names_of(part)]
    return [target.id] if isinstance(target, ast.Name) else []


def test_a_public_constant_s_name_means_one_thing() -> None:
    names = Counter(
        name
        for path in sources("hydrart", "tools")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        for name in names_of(target)
        if name.isupper() and not name.startswith("_")
    )
    assert {name for name, count in names.items() if count > 1} == NUMBERED


def test_every_module_has_a_test_file_of_its_name() -> None:
    """Of hydrart/ROOM/x.py it is tests/ROOM/test_x.py. What __init__.py has, the tests of its room or modules use."""
    modules = {str(path.relative_to(ROOT / "hydrart")): path for path in sources("hydrart")}
    lacking = {
        name
        for name, path in modules.items()
        if path.name != "__init__.py" and not (ROOT / "tests" / name).with_name(f"test_{path.name}").exists()
    }
    assert lacking == set(UNTESTED)


def test_the_wheel_holds_every_folder() -> None:
    listed = set(config()["options"]["packages"].split())
    files = [path for path in (ROOT / "hydrart").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in files}
    assert listed - {"hydrart.devices", "hydrart.weights"} == folders
