"""What all commands share: help, the version, wrong usage, and what is loaded before a command is known."""

import subprocess
import sys

import pytest

import hydrart
from tests.support.commands import COMMANDS, call, good

# what only some commands need
LATE = ("torch", "onnx", "onnxruntime", "openvino", "numba", "av", "cv2", "aiohttp", "matplotlib", "safetensors")
CODE = f"""
import sys
from hydrart.cli.main import main
try:
    main(["--help"], prog_name="hydrart")
finally:
    print(sorted(name for name in sys.modules if name in {LATE} or name.startswith("hydrart.convert")), file=sys.stderr)
"""


def test_help_loads_no_large_library() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert "train-teacher" in done.stdout and "convert" in done.stdout
    assert done.stderr == "[]\n"


@pytest.mark.parametrize("group", [(), ("service",)])
def test_the_list_of_commands_fits_a_narrow_terminal(group: tuple[str, ...]) -> None:
    shown = good(*group, "--help").stdout
    assert "\nCommands:\n" in shown
    assert "..." not in shown.partition("\nCommands:\n")[2], "make the first line of its docstring shorter"
    assert max(map(len, shown.splitlines())) <= 80


def test_version() -> None:
    assert good("--version").stdout.endswith(f" {hydrart.__version__}\n")
    program = [sys.executable, "-m", "hydrart", "--version"]
    assert (
        subprocess.run(program, capture_output=True, text=True, check=True).stdout
        == f"hydrart, version {hydrart.__version__}\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_every_command(command: str, option: str) -> None:
    shown = good(command, option)
    assert shown.stdout.startswith("Usage:") and "--json" in shown.stdout and not shown.stderr
    assert command in good(option).stdout


def test_no_command_is_wrong_usage_and_shows_the_commands() -> None:
    result = call()
    assert result.exit_code == 2 and not result.stdout
    assert all(command in result.stderr for command in COMMANDS)
