"""cli/output_options.py: its options are what Outputs takes."""

import inspect
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from hydrart.cli.output_options import OUTPUT_NAMES, output_options
from hydrart.output.outputs import Outputs


def given(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    @click.command()
    @output_options
    def command(**options: Any) -> None:
        found.update(options)

    done = CliRunner().invoke(command, arguments)
    return found if done.exit_code == 0 else {"exit_code": done.exit_code}


def test_outputs_takes_each_of_them_with_the_same_default() -> None:
    options = given()
    assert tuple(options) == OUTPUT_NAMES
    taken = {name: each.default for name, each in inspect.signature(Outputs).parameters.items()}
    assert options == {name: taken[name] for name in OUTPUT_NAMES}


def test_values() -> None:
    options = given("--csv", "--log", "a.jsonl", "--log-mb", "0.5", "--save-video", "b.mp4", "--on-change", "--quiet")
    assert options == {
        "as_csv": True,
        "log": Path("a.jsonl"),
        "log_mb": 0.5,
        "save_video": Path("b.mp4"),
        "on_change": True,
        "quiet": True,
    }
    for size in ("0", "nan", "1e9"):
        assert given("--log-mb", size) == {"exit_code": 2}
