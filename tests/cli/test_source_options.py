"""Which source the command line names."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click import BadParameter

from hydrart.cli.source_options import Size
from tests.support.commands import PATIENCE_S, PROGRAM, call, json_lines, made, run_json, sentence


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
        (("-:4x4:gray", "-:4x4:gray"), "more than once"),
        (("-:4x4:gray", "demo"), "exclude each other"),
        (("-x.mp4",), "No such option"),
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
    for text in ("", "\n", f"@{named}\n", "\0ftypisom"):
        named.write_text(text)
        assert "names no source" in sentence("run", f"@{named}", "--weights", weights)
    assert "cannot be read" in sentence("run", f"@{tmp_path}/none", "--weights", weights)
    assert "cannot be read" in sentence("run", f"@{tmp_path}", "--weights", weights)


def test_sizes() -> None:
    assert Size().convert("640x480", None, None) == (640, 480)
    for text in ("640", "0x480", "640x", "axb"):
        with pytest.raises(BadParameter):
            Size().convert(text, None, None)


@pytest.mark.parametrize("words", [("-:4x2:rgb24",), ("--source", "-:4x2:rgb24"), ("--", "-:4x2:rgb24")])
def test_raw_frames_on_stdin_however_they_are_named(words: tuple[str, ...], weights: Path) -> None:
    command = [*PROGRAM, "run", "--weights", str(weights), "--frames", "all", "--k", "3", "--json", *words]
    done = subprocess.run(command, input=bytes(3 * 24), capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and len(json_lines(done.stdout.decode())) == 3 + 1, done.stderr
    assert b"stdin (4x2 rgb24)" in done.stderr


@pytest.mark.parametrize("word", ["-", "-:", "-:4x4", "-:4x4:rgb"])
def test_a_wrong_name_of_raw_frames(word: str, weights: Path) -> None:
    result = call("run", "--weights", weights, word)
    assert result.exit_code in (1, 2) and "Traceback" not in result.stderr
    if result.exit_code == 1:
        assert "write -:WIDTHxHEIGHT:FORMAT, as in -:640x480:rgb24" in result.stderr
    else:
        assert "Option '-:' requires an argument" in result.stderr


def test_a_link_to_nowhere(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").symlink_to("nowhere.mp4")
    said = sentence("run", tmp_path / "x.mp4", "--weights", weights)
    assert f"{tmp_path}/x.mp4 is a link to nowhere.mp4, which does not exist: check the link" in said


def test_globs_without_a_file(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden").mkdir()
    made(tmp_path / "hidden/.x.jpg")
    for command, prefix in (("run", "hydrart: "), ("classify", "skipped: ")):
        for pattern, why in (
            ("none/*.jpg", f"there is no folder {tmp_path}/none"),
            ("empty/*.jpg", f"check the pattern, and the folder {tmp_path}/empty"),
            ("*", "only folders without pictures: pass a folder that holds pictures"),
            ("hidden/*.jpg", "because * leaves out hidden names: write their dot, as in .*.jpg"),
            ("**/[xy].jpg", "check the pattern, and the folder"),
        ):
            result = call(command, f"{tmp_path}/{pattern}", "--weights", weights)
            assert result.exit_code == 1 and "Traceback" not in result.stderr
            line = next(line for line in result.stderr.splitlines() if line.startswith(prefix))
            assert line.startswith(f"{prefix}no file matches {tmp_path}/{pattern}") and why in line
    made(tmp_path / "hidden/y.jpg")
    frames, _ = run_json(f"{tmp_path}/*", "--weights", weights)
    assert [frame["source_name"] for frame in frames] == [f"{tmp_path}/hidden/y.jpg"], "only folders match: their files"
    assert "hidden/y.jpg" in call("classify", f"{tmp_path}/*", "--weights", weights).stdout
    assert f"{tmp_path}/empty holds no pictures" in call("classify", tmp_path / "empty", "--weights", weights).stderr
