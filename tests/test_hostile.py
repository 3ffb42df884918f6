"""Readers of bytes refuse hostile ones with one sentence: those of tests/hostile/ and many mutated ones."""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fuzz import HOSTILE, READERS, ROOT, mutate

RUNS = int(os.environ.get("HYDRART_TEST_FUZZ", "20000"))  # of the slow tests, for each reader
readers = pytest.mark.parametrize("name", READERS)


@readers
def test_hostile_files_are_refused_or_read(name: str, tmp_path: Path) -> None:
    if name == "checkpoint":
        pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    reader = READERS[name](tmp_path)
    files = sorted(HOSTILE.joinpath(name).iterdir())
    assert len(files) >= 10
    for file in files:
        reader.feed(file.read_bytes())
    ran = [Path("/tmp/hydrart-was-run"), Path("/tmp/hydrart-was-opened")]
    assert not any(path.exists() for path in ran), "a file ran a program"


@readers
def test_some_mutated_inputs(name: str, tmp_path: Path) -> None:
    if name == "checkpoint":
        pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    reader, draw = READERS[name](tmp_path), random.Random(0)
    for seed in reader.seeds:
        reader.feed(seed)
    for _ in range(200):
        reader.feed(mutate(draw, reader))


def test_no_hostile_file_lies_beside() -> None:
    assert sorted(path.name for path in HOSTILE.iterdir()) == sorted(READERS)


def fuzz(name: str, folder: Path, *more: str) -> str:
    command = [sys.executable, "-W", "error", "-m", "tests.support.fuzz", name, str(RUNS), *more]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{list(folder.glob('*'))}: {done.stdout[-500:]} {done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow
@readers
def test_many_mutated_inputs(name: str, tmp_path: Path) -> None:
    if name == "checkpoint":
        pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    assert f"{RUNS} runs, nothing found" in fuzz(name, tmp_path, str(random.SystemRandom().randrange(1 << 30)))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed (extra: fuzz)")
@readers
def test_inputs_that_coverage_guides(name: str, tmp_path: Path) -> None:
    if name == "checkpoint":
        pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
    assert f"Done {RUNS} runs" in fuzz(name, tmp_path, "--guided")
