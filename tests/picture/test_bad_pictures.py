"""Pictures and arrays that cannot be used: named, skipped, one sentence, never a traceback."""

import io
import os
import random
import signal
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import hydrart
from hydrart.errors import HeadsError, HydrartError, PictureError
from tests.support.commands import call, closed, good, json_lines, made, no_root, noise, sentence, told
from tests.support.networks import CIFAR


def encoded(kind: str, image: Image.Image | None = None) -> bytes:
    data = io.BytesIO()
    (image or Image.fromarray(noise(0))).save(data, kind)
    return data.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that claims a size, with hardly any data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


# name -> (bytes, words of the sentence)
PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.jpg": (lambda: b"", "not a picture"),
    "text.jpg": (lambda: b"I am a picture, believe me.\n" * 9, "not a picture"),
    "noise.png": (lambda: random.Random(1).randbytes(999), "not a picture"),
    "short.jpg": (lambda: half(encoded("jpeg")), "damaged"),
    "short.png": (lambda: half(encoded("png")), "damaged"),
    "short.webp": (lambda: half(encoded("webp")), "pic"),
    "short.gif": (lambda: half(encoded("gif")), "damaged"),
    "short.bmp": (lambda: half(encoded("bmp")), "damaged"),
    "short.tiff": (lambda: half(encoded("tiff")), "pic"),
    "bomb.png": (lambda: png(60_000, 60_000), "89,478,485 pixels"),
    "bomb of 2^31.png": (lambda: png(2**31 - 1, 2**31 - 1), "89,478,485 pixels"),
    "large.png": (lambda: png(10_000, 10_000), "89,478,485 pixels"),
    "flat.png": (lambda: png(0, 5), "flat.png"),
    "hollow.png": (lambda: png(500, 500), "damaged"),
    "text bomb.png": (lambda: png(8, 8, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(70_000_000)))), "damaged"),
    "float.tiff": (lambda: encoded("tiff", Image.new("F", (9, 9), 0.5)), "floating-point"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_files_that_are_no_pictures(name: str, model: hydrart.Model, weights: Path, tmp_path: Path) -> None:
    make, words = PICTURES[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(PictureError) as error:
        model(path)
    assert str(path) in told(error)
    shown = call("classify", path, "--weights", weights)
    assert shown.exit_code == 1 and not shown.stdout
    skipped, count, last = shown.stderr.splitlines()
    assert skipped.startswith(f"skipped: {path} ") and words in skipped
    assert "1 of 1" in count and last.startswith("hydrart: ")


@pytest.mark.parametrize("name", ["missing.png", "", "file/x.png", "x" * 300 + ".png", "*.png", "a\0b.png"])
def test_paths_that_are_no_pictures(name: str, model: hydrart.Model, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = f"{tmp_path}/{name}"
    with pytest.raises(PictureError) as error:
        model(path)
    assert "\n" not in str(error.value)
    if "\0" not in name:
        sentence("classify", path, "--weights", weights)
        sentence("run", "--source", path, "--weights", weights)


@no_root
@pytest.mark.parametrize("where", ["file", "folder"])
def test_pictures_without_permission(where: str, model: hydrart.Model, weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "cat"
    folder.mkdir(parents=True)
    path = made(folder / "x.png")
    with closed(path if where == "file" else folder):
        with pytest.raises(PictureError, match="may not be read"):
            model(path)
        for args in (("classify", path), ("run", "--source", path), ("eval", tmp_path / "folder")):
            sentence(*args, "--weights", weights)


def test_a_pipe_is_no_picture(weights: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    made(tmp_path / "y.png")
    signal.alarm(60)
    lines = json_lines(good("classify", tmp_path, "--weights", weights, "--json").stdout)
    assert [Path(line["picture"]).name for line in lines] == ["y.png"]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """tree/cat: three good pictures among five that are not."""
    folder = tmp_path / "tree" / "cat"
    folder.mkdir(parents=True)
    for i, name in enumerate(("a.png", "m.png", "z.png")):
        made(folder / name, seed=i)
    for name in ("empty.jpg", "short.jpg", "text.jpg", "bomb.png", "float.tiff"):
        (folder / name).write_bytes(PICTURES[name][0]())
    return folder


def broken(stderr: str) -> list[str]:
    """The names of the pictures that were told to be skipped."""
    lines = [line for line in stderr.splitlines() if line.startswith("skipped: ")]
    return sorted(Path(line.split(": ")[1].split()[0]).name for line in lines)


BROKEN = ["bomb.png", "empty.jpg", "float.tiff", "short.jpg", "text.jpg"]


def test_classify_skips_broken_pictures(mixed: Path, weights: Path) -> None:
    shown = good("classify", mixed, "--weights", weights, "--json")
    assert [Path(line["picture"]).name for line in json_lines(shown.stdout)] == ["a.png", "m.png", "z.png"]
    assert broken(shown.stderr) == BROKEN and "5 of 8 pictures could not be read" in shown.stderr


def test_eval_skips_broken_pictures(mixed: Path, weights: Path) -> None:
    shown = good("eval", mixed.parent, "--weights", weights, "--json", "--k", 3, "--batch", 2)
    (report,) = json_lines(shown.stdout)
    assert (report["pictures"], report["skipped"]) == (3, 5)
    assert broken(shown.stderr) == BROKEN and "5 of 8 pictures could not be read" in shown.stderr


def test_run_skips_broken_pictures(mixed: Path, weights: Path) -> None:
    shown = good("run", "--source", mixed, "--weights", weights, "--json")
    *frames, last = json_lines(shown.stdout)
    assert [frame["frame"] for frame in frames] == [0, 1, 2]
    assert (last["summary"]["frames"], last["summary"]["skipped"]) == (3, 5)
    assert broken(shown.stderr) == BROKEN


def test_a_folder_of_broken_pictures_only(mixed: Path, weights: Path) -> None:
    for name in ("a.png", "m.png", "z.png"):
        (mixed / name).unlink()
    assert "no picture could be classified" in sentence("classify", mixed, "--weights", weights)
    assert "no readable picture" in sentence("eval", mixed.parent, "--weights", weights)
    assert "all 5 files failed" in sentence("run", "--source", mixed, "--weights", weights)


def test_a_folder_without_pictures(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    (tmp_path / "empty" / "cat" / "notes.txt").write_text("none here")
    for args in (
        ("classify", tmp_path / "empty"),
        ("eval", tmp_path / "empty"),
        ("run", "--source", tmp_path / "empty"),
    ):
        sentence(*args, "--weights", weights)


def test_an_animation_that_breaks_off(weights: Path, tmp_path: Path) -> None:
    """Its good frames are answered; then it counts as broken, and not as one without a readable frame."""
    frames = [Image.fromarray(noise(i)) for i in range(6)]
    data = io.BytesIO()
    frames[0].save(data, "gif", save_all=True, append_images=frames[1:])
    path = tmp_path / "x.gif"
    path.write_bytes(data.getvalue()[: data.tell() * 3 // 5])
    shown = good("run", "--source", path, "--weights", weights, "--json")
    *answered, last = json_lines(shown.stdout)
    assert len(answered) >= 2 and last["summary"]["skipped"] == 1 and broken(shown.stderr) == ["x.gif"]


def test_a_palette_with_transparency_is_an_ordinary_picture(model: hydrart.Model, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(noise(0)).quantize(16).save(path, transparency=bytes(range(16)))
    assert model(path).label in CIFAR


def test_file_names_stay_on_their_line(weights: Path, tmp_path: Path) -> None:
    made(tmp_path / "two\nlines.png")
    (tmp_path / "\x1b[31mred.png").write_text("no picture")
    shown = good("classify", tmp_path, "--weights", weights)
    assert len(shown.stdout.splitlines()) == 1 and shown.stdout[:-1].isprintable()
    assert all(line.isprintable() for line in shown.stderr.splitlines())


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_file_names_that_are_no_text(options: list[str], weights: Path, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    with open(path, "wb") as file:
        file.write(encoded("png"))
    shown = good("classify", tmp_path, "--weights", weights, *options)
    assert len(shown.stdout.splitlines()) == 1


PIXELS = np.zeros((4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    "picture",
    [
        PIXELS.astype(bool),
        PIXELS.astype(np.int64),
        PIXELS.astype(np.float32),
        PIXELS.transpose(2, 0, 1),
        PIXELS[None, None],
        PIXELS.transpose(2, 0, 1)[None],
        PIXELS[:0],
        PIXELS[:, :0],
        np.dstack((PIXELS, PIXELS)),
        PIXELS[:, :, :1].astype(np.int32),
        "http://user:secret@host/x.png",
        PIXELS.tolist(),
        None,
        b"x.png",
        17,
        Image.new("RGB", (0, 0)),
    ],
)
def test_objects_that_are_no_pictures(picture: Any, model: hydrart.Model) -> None:
    with pytest.raises(PictureError) as error:
        model(picture)
    told(error)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 3, 32, 32), complex),
        np.zeros((1, 3, 32, 32), bool),
        np.zeros((1, 1, 3, 32, 32)),
        np.full((1, 3, 32, 32), 1e300),
        [[1], [2, 3]],
        None,
        "x.png",
    ],
)
def test_objects_that_are_no_inputs(x: Any, model: hydrart.Model) -> None:
    for method in (model.logits, model.features):
        with pytest.raises(PictureError) as error:
            method(x)
        told(error)


def test_inputs_that_overflow(model: hydrart.Model) -> None:
    with pytest.raises(HydrartError, match="not finite"):
        model.logits(np.full((1, 3, 32, 32), 3e38, np.float32))


def test_no_inputs_give_no_answers(model: hydrart.Model) -> None:
    none: NDArray[np.float32] = np.zeros((0, 3, 32, 32), np.float32)
    assert model.logits(none).shape == (0, 10) and model.features(none, 3).shape == (0, 48)


def test_many_ks_at_once(model: hydrart.Model) -> None:
    with pytest.raises(HeadsError) as error:
        model(noise(0), k=np.array([3, 4]))  # type: ignore[call-overload]
    told(error)
