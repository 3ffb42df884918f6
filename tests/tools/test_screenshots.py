"""What a terminal shows of output that is drawn again and again."""

import sys

import pytest

from tools.screenshots import screen, terminal


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ("one\r\ntwo", ["one", "two"]),
        ("10%\r20%", ["20%"]),
        ("a\nb\n\r\x1b[1A\x1b[2Kc\r\n", ["a", "c", ""]),
        ("\x1b[?25la\x1b[1mb\x1b[0m", ["a\x1b[1mb\x1b[0m"]),
        (
            "title\n+--+\n|1 |\n+--+\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K+--+\n|2 |\n+--+",
            ["title", "+--+", "|2 |", "+--+"],
        ),
    ],
)
def test_the_last_state_stays(output: str, lines: list[str]) -> None:
    assert screen(output) == lines


def test_a_command_believes_in_its_terminal() -> None:
    code = "import sys, time; print(sys.stdout.isatty(), flush=True); time.sleep(60)"
    assert screen(terminal((sys.executable, "-c", code), 5))[0] == "True"
