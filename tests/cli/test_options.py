"""cli/options.py: what the values of shared options may be."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from hydrart.cli.options import Number, heads_list, model_options, print_json, shipped, suffixed, warn
from hydrart.json_lines import SCHEMA
from tests.support.commands import call

CONTEXT = click.Context(click.Command("x"))
PARAMETER = click.Option(["--x"])


@pytest.mark.parametrize(
    ("text", "ks"),
    [("3-6", (3, 4, 5, 6)), ("12,3, 6-7", (3, 6, 7, 12)), (" 6 ", (6,)), ("3,3-4", (3, 4)), ("64", (64,))],
)
def test_lists_of_heads(text: str, ks: tuple[int, ...]) -> None:
    assert heads_list(CONTEXT, PARAMETER, text) == ks
    assert heads_list(CONTEXT, PARAMETER, None) is None


@pytest.mark.parametrize("text", ["", "0", "65", "9-3", "3-", "a", "3;6", "-3", "3,,6", "1.5", "1-100"])
def test_no_lists_of_heads(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no list of heads: write 3-12, or 3,6,12, or 6"):
        heads_list(CONTEXT, PARAMETER, text)


def test_a_number_is_in_its_range() -> None:
    kind = Number(0.5, 2)
    assert kind.convert("0.5", PARAMETER, CONTEXT) == 0.5
    for text, words in (("nan", "is no number"), ("2.1", "range"), ("-inf", "range"), ("a", "float")):
        with pytest.raises(click.BadParameter, match=words):
            kind.convert(text, PARAMETER, CONTEXT)


def test_names_of_what_ships_and_paths(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").touch()
    assert shipped(CONTEXT, PARAMETER, str(tmp_path / "w.safetensors")) == tmp_path / "w.safetensors"
    found = shipped(CONTEXT, PARAMETER, "hydravit-cifar10")
    assert found is not None and found.name == "hydravit-cifar10.safetensors" and found.is_file()
    assert shipped(CONTEXT, PARAMETER, None) is None
    with pytest.raises(click.BadParameter, match="did you mean hydravit-cifar10"):
        shipped(CONTEXT, PARAMETER, "hydravit-cifar")


def test_a_suffix_is_asked_for() -> None:
    check = suffixed(".onnx")
    assert check(CONTEXT, PARAMETER, Path("a.onnx")) == Path("a.onnx")
    with pytest.raises(click.BadParameter, match=r"a\.pth must end in \.onnx"):
        check(CONTEXT, PARAMETER, Path("a.pth"))


def test_the_options_of_a_model_are_the_arguments_of_load() -> None:
    given: dict[str, Any] = {}

    @click.command()
    @model_options
    def command(**options: Any) -> None:
        given.update(options)

    assert CliRunner().invoke(command, []).exit_code == 0
    assert given == {
        "weights": "hydravit-cifar10",
        "precision": "auto",
        "threads": None,
        "mmap": True,
        "backend": "native",
    }
    for wrong in (["--threads", "0"], ["--precision", "int4"]):
        assert CliRunner().invoke(command, wrong).exit_code == 2


def test_json_goes_to_stdout_and_sentences_for_people_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"k": 3})
    warn("a\x1b[31m b")
    said = capsys.readouterr()
    assert json.loads(said.out) == {"k": 3, "schema": SCHEMA} and said.out.endswith("}\n")
    assert said.err.endswith(" b\n") and "\x1b" not in said.err


@pytest.mark.parametrize(
    "command",
    [
        "convert x.pth -o {}",
        "convert x.pth -o x.safetensors --labels {}",
        "eval {}",
        "train --data {} -o x.safetensors",
        "train-teacher --data x -o {}",
        "slice hydravit-cifar10 --heads 3 -o {}",
        "export hydravit-cifar10 -o {}",
        "replay {}",
        "run --log {}",
        "bench --save {}",
    ],
)
def test_paths_that_are_none(command: str) -> None:
    """An empty text would be the current folder."""
    for text, why in (("", "it is empty: give the path"), ("https://host/x.pth", "an address is no path: download")):
        result = call(*(word.format(text) for word in command.split()))
        assert result.exit_code == 2 and why in result.stderr and not result.stdout
