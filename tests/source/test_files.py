"""Video files and named pipes."""

import os
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.errors import SourceError
from hydrart.source import files
from hydrart.source.opener import Opener
from hydrart.stream.stream import Stream
from tests.support.commands import PATIENCE_S, PROGRAM, call, good, json_lines, video
from tests.support.videos import encode, stripes


def test_video_file(tmp_path: Path, model: hydrart.Model) -> None:
    path = encode(tmp_path / "x.avi", [np.full((48, 64, 3), (0, 0, 255), np.uint8)] * 6, fps=10)
    source = Opener(path).open()
    assert source.fps == 10 and not source.live
    with Stream(source, model, keep_frame=True) as stream:
        results = list(stream)
    assert len(results) == 6 and {result.source_name for result in results} == {None}
    assert results[0].picture is not None
    red, green, blue = results[0].picture[24, 32].tolist()
    assert blue > 200 and red < 50 and green < 50, "colours are RGB"


def test_a_damaged_video_ends_with_a_sentence(weights: Path, tmp_path: Path) -> None:
    path = video(tmp_path / "x.avi", frames=40, fps=100)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    shown = good("run", "--source", path, "--weights", weights, "--json")
    *frames, last = json_lines(shown.stdout)
    assert 0 < len(frames) < 40 and last["summary"]["frames"] == len(frames)
    assert "Traceback" not in shown.stderr and f"ended after {len(frames)} frames" in shown.stderr
    middle = bytearray(data)
    middle[len(data) // 3 : len(data) // 2] = os.urandom(len(data) // 2 - len(data) // 3)
    path.write_bytes(middle)
    result = call("run", "--source", path, "--weights", weights, "--json")
    assert result.exit_code in (0, 1) and "summary" in json_lines(result.stdout)[-1]


@pytest.mark.parametrize("locale", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}])
@pytest.mark.parametrize("name", [b"\xe9t\xe9.mp4", "été.mp4".encode(), b"2026-01-02T03:04:05.mp4", b"a%03d?#.mp4"])
def test_names_that_c_libraries_take_for_something_else(
    name: bytes, locale: dict[str, str], weights: Path, tmp_path: Path
) -> None:
    encode(tmp_path / "x.mp4", [stripes(48, 96)] * 3, fps=200).rename(tmp_path / os.fsdecode(name))
    command = [*PROGRAM, "run", "--source", os.fsdecode(name), "--weights", str(weights), "--json", "--log", "log"]
    run = subprocess.run(
        command, cwd=tmp_path, env=os.environ | locale, capture_output=True, timeout=PATIENCE_S, check=False
    )
    assert run.returncode == 0, run.stderr
    *frames, _ = json_lines(run.stdout.decode())
    assert len(frames) == 3
    head, *_ = json_lines((tmp_path / "log").read_text("utf-8"))
    assert os.fsencode(head["run"]["source"]) == name


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.ts"
    os.mkfifo(path)
    return path


def test_a_pipe_is_read_like_a_file(pipe: Path, tmp_path: Path) -> None:
    data = encode(tmp_path / "x.ts", [stripes(48, 96)] * 8, "mpeg2video").read_bytes()
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    source = Opener(pipe).open()
    assert len(list(source.shots())) == 8 and source.fps == 25
    writer.join(PATIENCE_S)


def test_a_pipe_that_nobody_writes_into_is_told(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_WRITER_S", 0.2)
    with pytest.raises(SourceError, match="nobody writes into the pipe"):
        Opener(pipe).open()


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_pipe(sent: signal.Signals, pipe: Path, weights: Path) -> None:
    command = [*PROGRAM, "run", str(pipe), "--weights", str(weights)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as run:
        reader = os.open(pipe, os.O_WRONLY)  # returns when the command has opened the other end
        run.send_signal(sent)
        _, said = run.communicate(timeout=PATIENCE_S)
        os.close(reader)
    assert run.returncode == 130 and "Traceback" not in said


def test_closing_ends_the_wait_for_more(pipe: Path, tmp_path: Path) -> None:
    data = encode(tmp_path / "x.ts", [stripes(48, 96)] * 60, "mpeg2video").read_bytes()
    held = os.open(pipe, os.O_RDWR)  # a writer that never ends
    writer = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
    writer.start()
    source = Opener(pipe).open()
    shots = source.shots()
    next(shots)
    threading.Timer(0.3, source.close).start()
    assert len(list(shots)) < 60
    os.close(held)
