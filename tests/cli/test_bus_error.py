"""A weight file that shrinks while it is mapped."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import PATIENCE_S, PROGRAM

FAILING = """
import mmap, sys
from hydrart.cli.bus_error import explain_bus_errors
explain_bus_errors()
with open(sys.argv[1], "r+b") as file:
    data = mmap.mmap(file.fileno(), 0)
    file.truncate(0)
    print(data[5000])
"""
ELSEWHERE = """
import os, signal
from hydrart.cli.bus_error import explain_bus_errors
explain_bus_errors()
os.kill(os.getpid(), signal.SIGBUS)
os.kill(os.getpid(), signal.SIGBUS)
"""


def test_bytes_that_are_gone_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines and a space"
    path.write_bytes(bytes(10_000))
    done = subprocess.run([sys.executable, "-c", FAILING, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("hydrart: ") == 1 and done.stderr.strip().isprintable()
    assert "space shrank while it was in use: replace it with mv, not with cp, or read it with --no-mmap" in done.stderr


def test_a_bus_error_elsewhere_ends_the_process_as_ever() -> None:
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-7, "")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("option", [(), ("--no-mmap",)], ids=["mapped", "read"])
def test_a_run_whose_weights_are_replaced_in_place(
    option: tuple[str, ...], threads: int, weights: Path, tmp_path: Path
) -> None:
    """As cp does it: the file shrinks to nothing, then grows again."""
    path = tmp_path / "net.safetensors"
    raw = weights.read_bytes()
    path.write_bytes(raw)
    command = [*PROGRAM, "run", "--source", "demo", "--loop", "--json", "--weights", path, "--threads", threads]
    command += ["--max-frames", 400, "--fps", 100, *option]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert '"frame": 0' in process.stdout.readline()
        with open(path, "r+b") as file:
            file.truncate(0)
            time.sleep(0.2)
            file.write(raw[: len(raw) // 2])
        said, errors = process.communicate(timeout=PATIENCE_S)
    if option:
        assert process.returncode == 0 and '"frame": 399' in said
    else:
        assert process.returncode == 1 and "Traceback" not in errors
        lines = [line for line in errors.splitlines() if "hydrart: " in line]
        assert len(lines) == 1 and "while it" in lines[0] and "replace it with mv, not with cp" in lines[0]
