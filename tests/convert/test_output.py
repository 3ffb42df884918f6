"""convert/output.py: files that appear when they are whole."""

import os
from pathlib import Path

import pytest

from hydrart.convert.output import ConvertError, appearing
from tests.support.commands import closed, no_root


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.write_text("before")
    with appearing(output, tmp_path / "in") as file:
        file.write(b"after")
        assert output.read_text() == "before"
    assert output.read_text() == "after"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    output = tmp_path / "out"
    output.write_text("before")
    with pytest.raises(error), appearing(output, tmp_path / "in") as file:
        file.write(b"after")
        raise error
    assert output.read_text() == "before"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
@pytest.mark.parametrize("place", [0, 1])
def test_an_input_is_not_overwritten(tmp_path: Path, link: str, place: int) -> None:
    source = tmp_path / "in"
    source.write_text("weights")
    getattr(tmp_path / "out", link)(source)
    inputs = [tmp_path / "nothing", tmp_path / "nothing"]
    inputs[place] = source
    for output in (source, tmp_path / "out"):
        with pytest.raises(ConvertError, match="is the input itself: give another name"), appearing(output, *inputs):
            pytest.fail("there is nothing to write to")
    assert source.read_text() == "weights"


def test_places_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for output, words in (
        (tmp_path / "folder", "is a folder"),
        (tmp_path / "missing" / "out", "No such file"),
        (tmp_path / ("x" * 300), "too long"),
    ):
        with pytest.raises(ConvertError, match=words), appearing(output, tmp_path / "in"):
            pytest.fail("there is nothing to write to")


@no_root
def test_a_folder_of_others(tmp_path: Path) -> None:
    with closed(tmp_path), pytest.raises(ConvertError, match="denied"), appearing(tmp_path / "out", tmp_path / "in"):
        pytest.fail("there is nothing to write to")
