"""Which files a source reads."""

from pathlib import Path

import pytest

from hydrart.resources import DEMO
from hydrart.source.paths import files_of
from tests.support.commands import made


def test_the_files_of_each_kind_of_source(tmp_path: Path) -> None:
    one, two, note = made(tmp_path / "1.png"), made(tmp_path / "sub" / "2.png"), tmp_path / "note.txt"
    note.write_text("no picture")
    assert files_of(str(one)) == files_of(one) == files_of(f"file://{one}") == [one]
    assert files_of(tmp_path) == [one, two]
    assert sorted(files_of(f"{tmp_path}/*")) == [one, note, tmp_path / "sub"]
    assert files_of("demo") == [DEMO]
    assert files_of("-:8x8:gray") == [Path("/dev/stdin")]


@pytest.mark.parametrize("source", [0, "61", "rtsp://host/stream", "nothing", [1, 2], None])
def test_sources_without_files(source: object) -> None:
    assert files_of(source) == []
