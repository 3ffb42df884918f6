"""A small random nested network that every test may use."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_limits

import hydrart
from hydrart.format.architecture import Architecture
from hydrart.model import ready
from tests.support import vm
from tests.support.colours import SMALL as COLOURS
from tests.support.colours import make_colours
from tests.support.commands import good
from tests.support.networks import SMALL, make_file


@pytest.fixture(scope="session", autouse=True)
def kernels() -> None:
    """Compile the kernels first, because commands say on stderr when they compile."""
    ready()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random fp32 file: 32x32 pixels, k = 3..12, heads of 16, CIFAR-10's labels."""
    return make_file(tmp_path_factory.mktemp("weights") / "random.safetensors")


@pytest.fixture(scope="session")
def model(weights: Path) -> hydrart.Model:
    """The model of `weights`."""
    return hydrart.load(weights, threads=1)  # two BLAS threads are very slow beside other programs


@pytest.fixture
def make_weights(tmp_path: Path) -> Callable[..., Path]:
    """Make a file of another architecture, precision or seed."""

    def make(arch: Architecture = SMALL, precision: str = "fp32", seed: int = 0) -> Path:
        return make_file(tmp_path / f"{precision}-{seed}.safetensors", arch, precision, seed)

    return make


@pytest.fixture(autouse=True)
def blas() -> Iterator[None]:
    """Restore the size of the BLAS pool, which every command caps."""
    with threadpool_limits():
        yield


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """End a test that waits for something that never comes."""

    def stop(number: int, frame: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(900)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Let the programs of a test heed SIGINT.

    A script without job control starts its background programs with SIGINT ignored. Tests that run there would pass
    this on to the programs that they start.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted: {done.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five different pictures."""
    folder = tmp_path_factory.mktemp("album")
    for i in range(5):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Use one PyTorch thread, because several are very slow beside other programs."""
    from hydrart.convert.parity import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red and blue pictures to train on, which no test changes."""
    return make_colours(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file, its checkpoint beside it, of a network that tells red from blue."""
    output = tmp_path_factory.mktemp("trained") / "colours.safetensors"
    options = ("--epochs", 12, "--dataset", "colours", "--licence", "MIT", *COLOURS)
    good("train", "--data", data, "-o", output, *options)
    return output


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a virtual machine that tests may boot, each time as it was built."""
    if missing := vm.missing():
        pytest.skip(f"these Debian packages are not installed: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("machine")
    vm.build(folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def machine_with_faults(machine: Path) -> Path:
    """The folder of a virtual machine that also has the modules that no kernel ships."""
    if missing := vm.not_compiled():
        pytest.skip(f"these Debian packages are not installed: {', '.join(missing)}")
    return machine


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """The folder that a machine sees as /share. It holds w.safetensors."""
    folder = tmp_path_factory.mktemp("share")
    shutil.copy(weights, folder / "w.safetensors")
    return folder
