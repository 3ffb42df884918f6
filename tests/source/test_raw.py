"""Raw frames on stdin."""

import os
import struct
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import hydrart
from hydrart.source.raw import RawSource
from tests.support.commands import PATIENCE_S, PROGRAM, json_lines


def piped(data: bytes, form: str, *args: object) -> "subprocess.CompletedProcess[bytes]":
    command = [*PROGRAM, "run", "--source", f"-:{form}", "--json", *map(str, args)]
    return subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S)


def test_raw_frames_on_stdin(weights: Path, model: hydrart.Model) -> None:
    pictures = [np.random.default_rng(i).integers(0, 256, (30, 37, 3), np.uint8) for i in range(4)]
    for form, turn in (("rgb24", slice(None)), ("bgr24", slice(None, None, -1))):
        data = b"".join(picture[:, :, turn].tobytes() for picture in pictures)
        shown = piped(data + b"part", f"37x30:{form}", "--frames", "all", "--weights", weights, "--k", 12)
        assert shown.returncode == 0, shown.stderr
        *frames, last = json_lines(shown.stdout.decode())
        assert [frame["label"] for frame in frames] == [model(picture).label for picture in pictures]
        assert last["summary"]["frames"] == 4 and b"incomplete, 4 of 3330 bytes" in shown.stderr


@pytest.mark.parametrize(
    "form", ["rgb24", "bgr24", "rgba", "bgra", "gray", "gray10le", "gray12le", "gray16le", "yuv420p"]
)
def test_every_format_on_stdin_gives_the_same_grey(form: str) -> None:
    if form == "yuv420p":
        pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    data = {
        "rgb24": b"\x80" * 48,
        "bgr24": b"\x80" * 48,
        "rgba": b"\x80" * 64,
        "bgra": b"\x80" * 64,
        "gray": b"\x80" * 16,
        "gray10le": struct.pack("<H", 0x200) * 16,
        "gray12le": struct.pack("<H", 0x800) * 16,
        "gray16le": struct.pack("<H", 0x8000) * 16,
        "yuv420p": b"\x7e" * 16 + b"\x80" * 8,  # 126 is 128 in the range of video
    }[form]
    told: list[str] = []
    read, write = os.pipe()
    os.write(write, data * 2 + data[:5])
    os.close(write)
    source = RawSource(f"-:4x4:{form}", told.append, read)
    shots = list(source.shots())
    source.close()
    os.close(read)
    assert len(shots) == 2 and len(told) == 1
    for shot in shots:
        assert shot.picture.shape == (4, 4, 3) and abs(shot.picture.astype(int) - 0x80).max() <= 1


def test_waiting_for_stdin_ends_when_it_shall() -> None:
    read, write = os.pipe()
    source = RawSource("-:4x4:gray", print, read)
    threading.Timer(0.2, source.close).start()
    assert list(source.shots()) == []
    os.close(read)
    os.close(write)


@pytest.mark.parametrize(
    ("form", "data", "words"),
    [
        ("640x480", b"", "does not say what comes on stdin"),
        ("640x480:jpeg", b"", "does not say what comes on stdin"),
        ("0x480:rgb24", b"", "check the size"),
        ("99999x99999:rgb24", b"", "check the size"),
        ("3x3:yuv420p", b"", "check the size"),
        ("64x48:rgb24", b"too few", "stdin ended after 7 bytes"),
    ],
)
def test_stdin_that_gives_no_frame(form: str, data: bytes, words: str, weights: Path) -> None:
    shown = piped(data, form, "--weights", weights)
    assert shown.returncode == 1 and words in shown.stderr.decode().splitlines()[-1]
