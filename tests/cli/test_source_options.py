"""Which source the command line names."""

import shutil
from pathlib import Path

import pytest
from click import BadParameter

from hydrart.cli.source_options import Size
from tests.support.commands import call, made, run_json, sentence


def test_a_source_is_what_stands_there(album: Path, weights: Path) -> None:
    frames, _ = run_json(album, "--weights", weights)
    assert [frame["source_name"] for frame in frames] == [str(album / f"{i}.png") for i in range(5)]
    lines, _ = run_json("--weights", weights, "--k", 3, album / "1.png")
    assert [line["source_name"] for line in lines] == [str(album / "1.png")]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--source", "demo", "--source", "demo"), "more than once"),
        (("--camera", 0, "--camera", 1), "more than once"),
        (("demo", "--source", "demo"), "exclude each other"),
        (("demo", "--camera", 0), "exclude each other"),
        (("demo", "demo"), "unexpected extra argument"),
        (("nowhere.mp4",), "there is no file nowhere.mp4"),
        (("",), "there is no file"),
    ],
)
def test_one_source_is_enough(args: tuple[object, ...], words: str, weights: Path) -> None:
    result = call("run", *args, "--weights", weights)
    assert result.exit_code == 2 and words in result.stderr and not result.stdout


def test_a_folder_may_be_called_like_a_camera(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("2031").mkdir()
    made(Path("2031/x.png"))
    for args in (("2031",), ("--source", "2031")):
        frames, _ = run_json(*args, "--weights", weights)
        assert [frame["source_name"] for frame in frames] == ["2031/x.png"]
    shutil.rmtree("2031")
    assert "there is no camera /dev/video2031" in sentence("run", "2031", "--weights", weights)


def test_a_source_may_stand_in_a_file(album: Path, weights: Path, tmp_path: Path) -> None:
    named = tmp_path / "source"
    named.write_text(f"  {album}\nrtsp://another/\n")
    for args in (("--source", f"@{named}"), (f"@{named}",)):
        frames, _ = run_json(*args, "--weights", weights)
        assert len(frames) == 5
    named.write_text("rtsp://me:secret@127.0.0.1:1/x\n")
    said = call("run", f"@{named}", "--weights", weights, "--wait", 0).output
    assert "rtsp://***@127.0.0.1:1/x cannot be reached" in said and "secret" not in said
    for text in ("", "\n", f"@{named}\n"):
        named.write_text(text)
        assert "names no source" in sentence("run", f"@{named}", "--weights", weights)
    assert "cannot be read" in sentence("run", f"@{tmp_path}/none", "--weights", weights)
    assert "cannot be read" in sentence("run", f"@{tmp_path}", "--weights", weights)


def test_sizes() -> None:
    assert Size().convert("640x480", None, None) == (640, 480)
    for text in ("640", "0x480", "640x", "axb"):
        with pytest.raises(BadParameter):
            Size().convert(text, None, None)
