"""cli/compiling.py: one message, however many functions are compiled."""

from collections.abc import Iterator

import pytest

from hydrart.cli.compiling import tell_when_compiling
from hydrart.codegen import isa, jit


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put back the logger of the compiler, which is the whole process's."""
    before, level = jit.log.handlers[:], jit.log.level
    yield
    jit.log.handlers[:], jit.log.level = before, level


def test_several_functions_are_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    tell_when_compiling()
    jit.log.debug("looking")
    assert capsys.readouterr().err == ""
    jit.log.info("compiling a")
    jit.log.info("compiling b")
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert f"compiling the kernels for {isa.choose().name.upper()}, once per machine" in said.err


def test_a_further_call_allows_one_more_and_adds_no_handler(capsys: pytest.CaptureFixture[str]) -> None:
    tell_when_compiling()
    count = len(jit.log.handlers)
    jit.log.info("compiling a")
    tell_when_compiling()
    assert len(jit.log.handlers) == count
    jit.log.info("compiling b")
    assert capsys.readouterr().err.count("compiling the kernels") == 2
