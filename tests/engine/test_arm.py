"""The native engine on emulated ARM cores, against what the reference computes here."""

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import hydrart
from hydrart.engine.numpy_engine import NumpyEngine
from hydrart.format.architecture import Architecture, Look
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.picture.preprocess import preprocess
from tests.picture.test_preprocess import noise
from tests.support.networks import SMALL, make_file

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
TOOLS = {"qemu-aarch64-static": "qemu-user-static", "mmdebstrap": "mmdebstrap", "arch-test": "arch-test"}
# CPU -> the kernels that are chosen on it
CORES = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "neon-dotprod", "max": "neon-i8mm"}
EMULATED = ("cortex-a72", "cortex-a76", "max")
ARCHITECTURES = (
    SMALL,
    Architecture(image_size=32, patch=8, depth=2, head_dim=32, heads=(1, 2, 3), classes=10, layer_scale=True),
    Architecture(image_size=32, patch=8, depth=2, head_dim=64, heads=(1, 2, 3), classes=10, separate_classifiers=True),
    replace(SMALL, heads=(2, 5), looks=(Look(2, 32), Look(5, 32)), fusion="tokens"),
    replace(SMALL, head_dim=64, heads=(1, 3), looks=(Look(1, 16), Look(3, 32)), fusion="grid"),
)
PRECISIONS = ("fp32", "bf16", "int8")
# of the largest logit; bfmmla and integers round activations too
TOLERANCE = {"fp32": 1e-5, "bf16": 0.02, "int8": 0.05}
PICTURES = {"large": (640, 480), "tall": (90, 181), "small": (97, 40)}

# what runs on the emulated cores besides the package
EMITTED = tuple(f"tests/codegen/test_emit_{part}.py" for part in ("microkernel", "pack", "rows"))
TOOL = ("tools/__init__.py", "tools/mca.py")
PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
CHOOSE = "from hydrart.codegen.isa import choose; print(choose().name)"
RUN = """
import sys
from pathlib import Path
import numpy as np
from hydrart.engine.native import NativeEngine
from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.preprocess import preprocess
from hydrart.format.reader import WeightFile

share, out = Path("/share"), Path(sys.argv[1])
x = np.load(share / "x.npy")
for path in share.glob("*.safetensors"):
    engine = NativeEngine(WeightFile(path), 2)
    for k in np.load(share / f"{path.stem}.npy"):
        for batch in (1, 2):
            np.save(out / f"{path.stem}-{k}-{batch}.npy", engine.logits(x[:batch], int(k)))
for path in share.glob("*.picture.npy"):
    np.save(out / path.name, preprocess(np.load(path), Preprocessing(64)))
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An arm64 Debian with Python, what hydrart needs, and the networks and pictures in /share."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    if missing := [package for tool, package in TOOLS.items() if not shutil.which(tool, path=path)]:
        pytest.skip(f"these Debian packages are not installed: {', '.join(missing)}")
    if os.geteuid():
        pytest.skip("changing the root directory takes root")
    root = tmp_path_factory.mktemp("arm") / "root"
    include = "--include=python3,libgomp1,libstdc++6,libgcc-s1,libc6"
    system = ("--variant=extract", "--skip=check/qemu", "--architectures=arm64", include, "bookworm", str(root))
    subprocess.run(["mmdebstrap", *system], check=True, capture_output=True)
    settings = configparser.ConfigParser()
    settings.read(REPOSITORY / "setup.cfg")
    wheels = ["-q", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
    wheels += [f"--platform=manylinux{glibc}_aarch64" for glibc in ("2014", "_2_17", "_2_27", "_2_28", "_2_34")]
    needed = [*settings["options"]["install_requires"].split(), "pytest"]
    pip = [sys.executable, "-m", "pip", "install", *wheels, "--target", str(root / "site"), *needed]
    subprocess.run(pip, check=True, capture_output=True)
    package = Path(hydrart.__file__).parent
    shutil.copytree(package, root / "site/hydrart", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(shutil.which("qemu-aarch64-static") or "", root / "usr/bin")
    for source in ("tests/__init__.py", "tests/support/__init__.py", "tests/support/emitted.py", *EMITTED, *TOOL):
        (root / "site" / source).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / source, root / "site" / source)
    share = root / "share"
    share.mkdir()
    np.save(share / "x.npy", np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32))
    for arch in ARCHITECTURES:
        for precision in PRECISIONS:
            name = f"{arch.head_dim}{arch.fusion}-{precision}"
            make_file(share / f"{name}.safetensors", arch, precision)
            np.save(share / f"{name}.npy", [arch.heads[0], arch.heads[len(arch.heads) // 2], arch.heads[-1]])
    for name, size in PICTURES.items():
        np.save(share / f"{name}.picture.npy", noise(*size))
    yield root
    shutil.rmtree(root)


def answers(engine: NumpyEngine, arch: Architecture, x: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Logits of k heads. Of a network of looks, they are those of the look of k heads, after those before it."""
    if not arch.looks:
        return engine.logits(x, k)
    with engine.looking(x) as view:
        *_, last = (view.look(each) for each in arch.heads if each <= k)
    assert last is not None
    return last


def emulate(root: Path, core: str, *args: str, **variables: str) -> str:
    """What a Python program prints."""
    # QEMU's SVE is not to be relied on, and the kernels do not use it
    cpu = "max,sve=off" if core == "max" else core
    emulator = ("chroot", str(root), "/usr/bin/qemu-aarch64-static", "-cpu", cpu)
    done = subprocess.run(
        [*emulator, "/usr/bin/python3", "-c", *args],
        env={
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONPATH": "/site",
            "HYDRART_CACHE": "/tmp/cache",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout.strip()


@pytest.mark.parametrize("core", CORES)
def test_the_best_kernels_are_chosen(root: Path, core: str) -> None:
    assert emulate(root, core, CHOOSE) == CORES[core]
    assert emulate(root, core, CHOOSE, HYDRART_ISA="neon") == "neon"


@pytest.mark.parametrize("core", EMULATED)
def test_the_kernels_compute_what_they_should(root: Path, core: str) -> None:
    files = [f"/site/{source}" for source in EMITTED]
    only = "not loop and not machine_code"  # those are about the code of every CPU, not about this one
    said = emulate(root, core, PYTEST, "-v", "-p", "no:cacheprovider", *files, "-k", only)
    assert f"test_products[{CORES[core]}-fma-1-1] PASSED" in said, said


@pytest.mark.parametrize("core", EMULATED)
def test_answers_are_those_of_the_reference(root: Path, core: str) -> None:
    out = root / "tmp" / core
    out.mkdir()
    emulate(root, core, RUN, f"/tmp/{core}")
    share = root / "share"
    x = np.load(share / "x.npy")
    for arch in ARCHITECTURES:
        for precision in PRECISIONS:
            name = f"{arch.head_dim}{arch.fusion}-{precision}"
            reference = NumpyEngine(WeightFile(share / f"{name}.safetensors"), 1)
            for k in np.load(share / f"{name}.npy"):
                expected = answers(reference, arch, x, int(k))
                tolerance = TOLERANCE[precision] * np.abs(expected).max()
                one, two = (np.load(out / f"{name}-{k}-{batch}.npy") for batch in (1, 2))
                np.testing.assert_allclose(two, expected, rtol=0, atol=tolerance, err_msg=f"{name} k={k}")
                np.testing.assert_array_equal(one, two[:1])
    for name in PICTURES:
        picture = np.load(share / f"{name}.picture.npy")
        np.testing.assert_array_equal(np.load(out / f"{name}.picture.npy"), preprocess(picture, Preprocessing(64)))
