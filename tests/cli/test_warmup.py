"""hydrart warmup, and the line that tells why a first start takes long."""

import logging
import os
import signal
import subprocess
from pathlib import Path

import pytest
from numba import types

from hydrart.cli import devices, warmup
from hydrart.codegen import cache, isa, jit, pipeline
from tests.support.commands import PATIENCE_S, PROGRAM, call, good, json_lines

LINE = f"compiling the kernels for {isa.choose().name.upper()}, once per machine: 10 s or more"


def compile_something() -> None:
    """What hydrart.codegen.jit tells where the cache has nothing."""
    for name in ("first", "second"):
        logging.getLogger("hydrart.codegen.jit").info("compiling the kernels for this CPU, once (%s)", name)


def test_warmup_tells_where_the_cache_is() -> None:
    shown = good("warmup")
    folder = str(cache.folder())
    assert len(shown.stdout.splitlines()) == 1 and f"kept in {folder}" in shown.stdout
    again = good("warmup")
    assert "already compiled" in again.stdout and LINE not in again.stderr
    (report,) = json_lines(good("warmup", "--json").stdout)
    assert list(report) == ["isa", "compiled", "seconds", "cache"]
    assert report["isa"] == isa.choose().name and report["compiled"] == 0 and report["cache"] == folder
    assert any(Path(folder).iterdir())


def test_warmup_tells_that_it_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(warmup, "ready", compile_something)
    monkeypatch.setenv("HYDRART_CACHE", str(tmp_path))
    shown = good("warmup")
    assert shown.stderr.splitlines().count(LINE) == 1
    assert "compiled in" in shown.stdout and "not kept: set HYDRART_CACHE" in shown.stdout
    (report,) = json_lines(good("warmup", "--json").stdout)
    assert report["compiled"] == 2 and report["cache"] is None


def test_every_command_tells_that_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(folder: str, suffix: str) -> dict[str, Path]:
        compile_something()
        return {}

    monkeypatch.setattr(devices, "bundled", nothing)
    for _ in range(2):
        assert good("devices").stderr.splitlines() == [LINE], "once for each command"


def test_help_and_wrong_usage() -> None:
    shown = good("warmup", "--help")
    assert shown.stdout.startswith("Usage:") and "--json" in shown.stdout
    assert call("warmup", "everything").exit_code == 2


@jit.kernel
def plus_one(x):  # type: ignore[no-untyped-def]
    return x + 1


@jit.kernel
def plus_two(x):  # type: ignore[no-untyped-def]
    return plus_one(plus_one(x))


def test_inner_functions_become_machine_code_in_their_entry_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYDRART_CACHE", str(tmp_path))

    def entry(x):  # type: ignore[no-untyped-def]
        return 10 * plus_two(x) + plus_one(x)

    for turn in range(2):  # compiled, then from the cache
        assert jit.compiled(types.int64(types.int64))(entry).ready()(3) == 54, turn
    for function in (plus_one, plus_two):
        (made,) = function.overloads.values()
        assert isinstance(made.library, pipeline._Part)
        assert not made.library.codegen._engine.is_symbol_defined(made.fndesc.mangled_name)


def test_code_for_one_instruction_set_is_never_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Numba tells no difference between the CPUs: their register tiles, and with them buffers, differ."""
    keys = []
    for features in (("neon",), ("neon", "dotprod"), ("neon", "dotprod", "i8mm", "bf16"), ()):
        monkeypatch.setattr(isa, "host_features", lambda features=features: frozenset(features))
        keys.append(jit.key.__wrapped__(__name__))
    assert len(set(keys)) == 4


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_signal_while_the_kernels_compile(sent: signal.Signals, tmp_path: Path) -> None:
    environment = os.environ | {"HYDRART_CACHE": str(tmp_path / "cache")}
    with subprocess.Popen([*PROGRAM, "warmup"], stderr=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stderr is not None
        assert any("compiling the kernels" in line for line in iter(process.stderr.readline, ""))
        process.send_signal(sent)
        said = process.stderr.read()
        assert process.wait(PATIENCE_S) == 130 and "Traceback" not in said, said
    assert not list(tmp_path.rglob(".hydrart-*")), "nothing half written is left"


@pytest.mark.slow
def test_a_fresh_machine(tmp_path: Path) -> None:
    """Compile into an empty cache, then load from it; a cache that cannot be written costs a warning, no more."""

    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HYDRART_CACHE": str(folder)}
        args = (*PROGRAM, "warmup")
        return subprocess.run(args, capture_output=True, text=True, env=env, timeout=PATIENCE_S, check=True)

    first, second = run(tmp_path / "cache"), run(tmp_path / "cache")
    assert LINE in first.stderr and ": compiled in" in first.stdout
    assert LINE not in second.stderr and "already compiled" in second.stdout
    (tmp_path / "file").touch()
    third = run(tmp_path / "file" / "cache")
    assert "cannot be kept" in third.stderr and "not kept: set HYDRART_CACHE" in third.stdout
