"""The wheel: what it must contain, and what it can do alone in a clean environment.

The slow tests install from the package index that pip is set up with, and skip where there is none.
"""

import ast
import json
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.support.colours import make_colours
from tests.support.networks import SMALL, random_state

ROOT = Path(__file__).parents[1]
SCRIPTS = ("tools/", ".py")  # what an installed hydrart lacks, in the words of a message


def test_no_message_names_a_script_of_the_checkout() -> None:
    """Of all texts in the package but docstrings."""
    for path in (ROOT / "hydrart").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                words = node.value.split()
                named = [word for word in words if len(words) > 1 and any(script in word for script in SCRIPTS)]
                assert not named, f"{path.relative_to(ROOT)}:{node.lineno} names {named}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder is left behind or read."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    for name in ("hydrart", "devices", "weights"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=ignored)
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    command: list[str | Path] = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
    command += ["-w", folder, folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("there is no package index to take setuptools from")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_hydrart_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("hydrart", "devices", "weights"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(ROOT).as_posix()
                assert (name if folder == "hydrart" else f"hydrart/{name}") in names
    licences = {name.split("/licenses/")[1] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "hydrart/demo/LICENSE.txt", "hydrart/convert/imagenet1k-LICENSE.txt"}
    assert not [name for name in names if name.startswith(("tests", "tools", "examples"))]


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment that holds the wheel and its hard dependencies alone."""
    root = tmp_path_factory.mktemp("clean")
    venv.create(root, with_pip=True)
    subprocess.run([root / "bin" / "pip", "install", "-q", "--disable-pip-version-check", wheel], check=True)
    return root


def run(clean: Path, *arguments: object, code: int = 0) -> str:
    """What the installed command prints, stderr last; it runs far from the checkout."""
    command = [str(clean / "bin" / "hydrart"), *map(str, arguments)]
    done = subprocess.run(command, cwd=clean, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.slow
def test_the_wheel_alone_converts_and_runs(wheel: Path, clean: Path, tmp_path: Path) -> None:
    save_file(random_state(SMALL), tmp_path / "hydravit.safetensors")
    weights = tmp_path / "out.safetensors"
    options = ("--heads", "3-12", "--head-dim", 16, "--json")
    report = json.loads(run(clean, "convert", tmp_path / "hydravit.safetensors", "-o", weights, *options))
    assert report["compared_with"] == "float64 NumPy" and len(report["parity"]) == 10
    assert all(0 < row["max_difference"] < 1e-4 for row in report["parity"])
    lines = run(clean, "run", "--source", "demo", "--max-frames", 5, "--json").splitlines()
    assert [json.loads(line).get("frame") for line in lines[:5]] == [0, 1, 2, 3, 4] and "summary" in lines[5]
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    assert json.loads(run(clean, "classify", tmp_path / "a.png", "--weights", weights, "--json"))["k"] == 12
    networks = json.loads(run(clean, "info", weights, "--json"))["networks"]
    assert [network["k"] for network in networks] == list(range(3, 13))
    assert "imagenet1k.txt" in [path.name for path in clean.glob("lib/python*/site-packages/hydrart/convert/*.txt")]
    run(clean, "warmup")
    report = json.loads(run(clean, "slice", weights, "--heads", 6, "-o", tmp_path / "six.safetensors", "--json"))
    assert report["heads"] == [3, 4, 5, 6]
    report = json.loads(run(clean, "simulate", "--device", "raspberrypi4", "--trace", "quiet", "--json"))
    assert report["policy"] == "governor" and report["frames"] > 0
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04")
    assert f"'{wheel}[train]'" in run(clean, "convert", tmp_path / "a.pth", "-o", tmp_path / "b.safetensors", code=1)
    training = ("--data", tmp_path, "-o", tmp_path / "c.safetensors")
    assert f"'{wheel}[train]'" in run(clean, "train", *training, code=1)
    assert f"'{wheel}[onnx]'" in run(clean, "export", weights, "-o", tmp_path / "a.onnx", code=1)
    for library in ("torch", "onnx", "cv2", "matplotlib", "aiohttp"):
        assert not list(clean.glob(f"lib/python*/site-packages/{library}")), "it would prove nothing"


@pytest.mark.slow
def test_the_wheel_trains_and_exports(wheel: Path, tmp_path: Path) -> None:
    """With the libraries of this environment, which are gigabytes on some index, but with hydrart from the wheel."""
    pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: onnx)")
    import torch

    root = tmp_path / "environment"
    venv.create(root, with_pip=True)
    subprocess.run([root / "bin" / "pip", "install", "-q", "--no-deps", wheel], check=True)
    (site,) = root.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")
    data = make_colours(tmp_path / "colours")
    small = ("--depth", 1, "--patch", 8, "--image-size", 16, "--batch", 8, "--threads", 1, "--epochs", 2)
    output = tmp_path / "colours.safetensors"
    report = json.loads(run(root, "train", "--data", data, "-o", output, *small, "--json"))
    assert set(report["top1"]) == {str(k) for k in range(3, 13)}
    picture = next((data / "test" / "red").iterdir())
    assert json.loads(run(root, "classify", picture, "--weights", output, "--json"))["label"] in ("red", "blue")
    report = json.loads(run(root, "export", output, "-o", tmp_path / "colours.onnx", "--heads", 6, "--json"))
    assert report["heads"] == 6 and 0 < report["max_difference"] < 1e-4
    run(root, "convert", output.with_suffix(".pth"), "-o", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").stat().st_size == output.stat().st_size
    code = "import hydrart; print(hydrart.__file__)"
    found = subprocess.run([root / "bin" / "python", "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(site), "it would be the checkout that was tested"
