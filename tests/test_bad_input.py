"""Hostile and mistaken input: each ends in one sentence, exit code 1 (2 for wrong usage), and never in a traceback."""

import contextlib
import io
import json
import os
import random
import resource
import signal
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CIFAR, SMALL, make_file
from numpy.typing import NDArray
from PIL import Image
from test_cli import PATIENCE_S, PROGRAM, call, good, json_lines, noise, sentence
from threadpoolctl import threadpool_limits

import hydrart
from hydrart.errors import HeadsError, HydrartError, PictureError, WeightFileError
from hydrart.layout import tensor_name
from hydrart.weightfile import WeightFile

TINY = replace(SMALL, image_size=8, patch=4, depth=1, heads=(1, 2, 3))

Make = Callable[..., Path]
Json = dict[str, Any]

no_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture(autouse=True)
def blas() -> Iterator[None]:
    """Put back the size of the BLAS pool, which every command caps."""
    with threadpool_limits():
        yield


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """What takes minutes here waits for something that never comes."""

    def stop(number: int, frame: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """Nobody but root may use the path."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def told(error: pytest.ExceptionInfo[HydrartError]) -> str:
    """The message: one printable line of bearable length."""
    said = str(error.value)
    assert said.isprintable() and 10 < len(said) < 600, said[:700]
    return said


# weight files


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By precision: the smallest files there are."""
    folder = tmp_path_factory.mktemp("tiny")
    return {p: make_file(folder / f"{p}.safetensors", TINY, p) for p in ("fp32", "bf16", "int8")}


def taken_apart(path: Path) -> tuple[Json, Json, bytes]:
    """Header, hydrart's own metadata, data."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["hydrart"]), raw[8 + length :]


def put_together(header: Json | str, meta: Json | str | None, data: bytes) -> bytes:
    if isinstance(header, dict):
        if meta is not None:
            header["__metadata__"]["hydrart"] = meta if isinstance(meta, str) else json.dumps(meta)
        header = json.dumps(header)
    text = header.encode()
    return len(text).to_bytes(8, "little") + text + data


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


# name -> (raw bytes -> raw bytes, words of the sentence)
BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda raw: b"", "0 bytes"),
    "seven bytes": (lambda raw: raw[:7], "7 bytes"),
    "only a length": (lambda raw: raw[:8], "safetensors"),
    "noise": (lambda raw: random.Random(0).randbytes(10_000), "no safetensors"),
    "zeros": (lambda raw: bytes(10_000), "JSON"),
    "text": (lambda raw: b"this is no weight file at all\n" * 99, "no safetensors"),
    "header of 2^63 bytes": (lambda raw: (1 << 63).to_bytes(8, "little") + raw[8:], "safetensors"),
    "header of 2^64-1 bytes": (lambda raw: b"\xff" * 8 + raw[8:], "safetensors"),
    "header as long as the file": (lambda raw: (len(raw) - 8).to_bytes(8, "little") + raw[8:], "JSON"),
    "header one byte longer": (lambda raw: (len(raw) - 7).to_bytes(8, "little") + raw[8:], "safetensors"),
    "header that is a list": (lambda raw: put_together("[1, 2]", None, b""), "not an object"),
    "header of no text": (lambda raw: (4).to_bytes(8, "little") + b"\xff\xfe\xfd\xfc", "JSON"),
    "a byte less": (lambda raw: raw[:-1], "cut short"),
    "a page less": (lambda raw: raw[:-4096], "cut short"),
    "a byte more": (lambda raw: raw + b"\0", "bytes"),
    "twice": (lambda raw: raw + raw, "bytes"),
    "empty object": (lambda raw: put_together("{}", None, b""), "no hydrart metadata"),
    "deep header": (lambda raw: put_together('{"a":' + nested(100_000) + "}", None, b""), "JSON"),
}


@pytest.mark.parametrize("name", BYTES)
def test_files_that_are_no_weights(name: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    change, words = BYTES[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(change(tiny["int8"].read_bytes()))
    with pytest.raises(WeightFileError) as error:
        hydrart.load(path)
    assert words in told(error) and str(path) in str(error.value)


def test_a_file_cut_anywhere(tiny: dict[str, Path], tmp_path: Path) -> None:
    raw = tiny["int8"].read_bytes()
    start = len(raw) - len(taken_apart(tiny["int8"])[2])
    places = {*range(0, len(raw), len(raw) // 60), *range(12), start - 1, start, start + 1, len(raw) - 1}
    path = tmp_path / "x.safetensors"
    for place in sorted(places):
        path.write_bytes(raw[:place])
        with pytest.raises(WeightFileError) as error:
            hydrart.load(path)
        told(error)


def put(*keys: str, value: Any) -> Callable[[Json, Json], None]:
    """Set an entry of the metadata."""

    def change(header: Json, meta: Json) -> None:
        part = meta
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value

    return change


def tensor(**entries: Any) -> Callable[[Json, Json], None]:
    """Set entries of the first tensor in the header."""

    def change(header: Json, meta: Json) -> None:
        header["shell01.patch_embed.proj.weight"] |= entries

    return change


def overlap(header: Json, meta: Json) -> None:
    header["shell01.cls_token"]["data_offsets"] = header["shell01.pos_embed"]["data_offsets"]


def swap(header: Json, meta: Json) -> None:
    a, b = "shell01.blocks.0.norm1.weight", "shell01.blocks.0.norm1.bias"
    header[a], header[b] = header[b], header[a]


ARCH, PREP = "architecture", "preprocessing"
HUGE = 10**400  # JSON allows it, a float does not hold it

# name -> (change of header and metadata, words of the sentence)
ENTRIES: dict[str, tuple[Callable[[Json, Json], object], str]] = {
    "no metadata": (lambda header, meta: header.pop("__metadata__"), "no hydrart metadata"),
    "metadata that are a list": (lambda header, meta: header.update(__metadata__=[]), "no hydrart metadata"),
    "version 2": (put("version", value=2), "version 2"),
    "version as text": (put("version", value="1"), "version '1'"),
    "no version": (lambda header, meta: meta.pop("version"), "version None"),
    "endless version": (put("version", value="9" * 100_000), "version"),
    "version of two lines": (put("version", value="1\n2"), "version"),
    "another shape": (tensor(shape=[1, 2, 3]), "patch_embed"),
    "a shape of texts": (tensor(shape=["a"]), "patch_embed"),
    "another type": (tensor(dtype="F64"), "patch_embed"),
    "no type": (tensor(dtype=None), "patch_embed"),
    "offsets before the file": (tensor(data_offsets=[-8, 4]), "patch_embed"),
    "offsets behind the file": (tensor(data_offsets=[0, 1 << 62]), "patch_embed"),
    "offsets of 400 digits": (tensor(data_offsets=[0, HUGE]), "patch_embed"),
    "offsets the wrong way round": (tensor(data_offsets=[96, 0]), "patch_embed"),
    "one offset": (tensor(data_offsets=[0]), "patch_embed"),
    "deep shape": (tensor(shape=json.loads(nested(900))), "patch_embed"),
    "overlapping tensors": (overlap, "cls_token"),
    "swapped tensors": (swap, "norm1.weight"),
    "a tensor more": (
        lambda header, meta: header.update(more={"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        "more",
    ),
    "a tensor more of two lines": (lambda header, meta: header.update({"a\n\x1b[31mb": 5}), "a tensor"),
    "a tensor less": (lambda header, meta: header.pop("shell02.norm.bias"), "shell02.norm.bias is missing"),
    "a tensor that is text": (lambda header, meta: header.update({"shell02.norm.bias": "x" * 99_999}), "norm.bias"),
    "4 billion pixels": (put(ARCH, "image_size", value=1 << 32), "image_size"),
    "a million blocks": (put(ARCH, "depth", value=10**6), "depth"),
    "no blocks": (put(ARCH, "depth", value=0), "depth"),
    "blocks of 400 digits": (put(ARCH, "depth", value=HUGE), "depth"),
    "depth as text": (put(ARCH, "depth", value="1"), "depth"),
    "depth true": (put(ARCH, "depth", value=True), "depth"),
    "patch 0": (put(ARCH, "patch", value=0), "patch"),
    "patch 3": (put(ARCH, "patch", value=3), "no multiple"),
    "head_dim 17": (put(ARCH, "head_dim", value=17), "head_dim"),
    "four channels": (put(ARCH, "channels", value=4), "channels"),
    "layer_norm_eps 0": (put(ARCH, "layer_norm_eps", value=0), "layer_norm_eps"),
    "layer_norm_eps of 400 digits": (put(ARCH, "layer_norm_eps", value=HUGE), "layer_norm_eps"),
    "an unknown part": (put(ARCH, "experts", value=8), "experts"),
    "no architecture": (lambda header, meta: meta.pop(ARCH), ARCH),
    "a missing part": (lambda header, meta: meta[ARCH].pop("patch"), "patch"),
    "no heads": (put("heads", value=[]), "heads"),
    "heads the wrong way round": (put("heads", value=[3, 2, 1]), "ascending"),
    "heads twice": (put("heads", value=[1, 2, 2]), "ascending"),
    "0 heads": (put("heads", value=[0, 1]), "heads"),
    "heads with a half": (put("heads", value=[1, 1.5]), "heads"),
    "100000 heads": (put("heads", value=list(range(1, 100_001))), "heads"),
    "64 heads": (put("heads", value=list(range(1, 65))), "architecture asks for"),
    "all sizes at their limits": (
        lambda header, meta: (
            meta[ARCH].update(image_size=4096, patch=1, depth=256, head_dim=64, classes=10**6),
            meta[PREP].update(size=4096),
            meta.update(labels=[]),
        ),
        "architecture asks for",
    ),
    "classes without labels": (put(ARCH, "classes", value=11), "10 labels for 11 classes"),
    "a label less": (lambda header, meta: meta["labels"].pop(), "9 labels for 10 classes"),
    "labels that are numbers": (put("labels", value=list(range(10))), "labels"),
    "a label of two lines": (put("labels", value=["a\nb", *CIFAR[1:]]), "control characters"),
    "a label that colours": (put("labels", value=["\x1b[31m", *CIFAR[1:]]), "control characters"),
    "a label of half a letter": (put("labels", value=["\ud800", *CIFAR[1:]]), "control characters"),
    "another size": (put(PREP, "size", value=9), "9 pixels"),
    "crop 0": (put(PREP, "crop", value=0), "crop"),
    "crop 2": (put(PREP, "crop", value=2), "crop"),
    "crop of 400 digits": (put(PREP, "crop", value=HUGE), "crop"),
    "mean of 400 digits": (put(PREP, "mean", value=[HUGE, 0, 0]), "mean"),
    "mean beyond float32": (put(PREP, "mean", value=[1e300, 0, 0]), "mean"),
    "two means": (put(PREP, "mean", value=[0.5, 0.5]), "mean"),
    "std 0": (put(PREP, "std", value=[1, 0, 1]), "std"),
    "negative std": (put(PREP, "std", value=[1, -1, 1]), "std"),
    "std below float32": (put(PREP, "std", value=[1e-300, 1, 1]), "std"),
    "std beyond float32": (put(PREP, "std", value=[1e300, 1, 1]), "std"),
    "std NaN": (put(PREP, "std", value=[float("nan"), 1, 1]), "JSON"),
    "interpolation by guessing": (put(PREP, "interpolation", value="guess"), "interpolation"),
    "blue first": (put(PREP, "colour", value="BGR"), "colour"),
    "precision int4": (put("precision", value="int4"), "int4"),
    "another precision": (put("precision", value="bf16"), "architecture asks for"),
    "accuracy of 150 %": (
        put("accuracy", value={"dataset": "x", "pictures": 1, "top1": {"1": 1.5}, "top5": {}}),
        "accuracy",
    ),
    "accuracy of 9 heads": (
        put("accuracy", value={"dataset": "x", "pictures": 1, "top1": {"9": 0.5}, "top5": {}}),
        "k=",
    ),
    "checksums of two lines": (put("shells", value={"9\n\x1b[31m": "x"}), "shells"),
    "checksums that are numbers": (put("shells", value={"1": 5}), "shells"),
    "licence as a number": (put("licence", value=5), "licence"),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_headers_that_do_not_fit(name: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    header, meta, data = taken_apart(tiny["int8"])
    change, words = ENTRIES[name]
    change(header, meta)
    path = tmp_path / "x.safetensors"
    path.write_bytes(put_together(header, meta if isinstance(header.get("__metadata__"), dict) else None, data))
    with pytest.raises(WeightFileError) as error:
        hydrart.load(path)
    assert words in told(error) and str(path) in str(error.value)


@pytest.mark.parametrize("depth", [10, 900, 980, 1_000, 100_000])
@pytest.mark.parametrize("text", ["{}", '{{"version": {}}}', '{{"version": 1, "architecture": {}}}'])
def test_deep_metadata(text: str, depth: int, tiny: dict[str, Path], tmp_path: Path) -> None:
    header, _, data = taken_apart(tiny["int8"])
    path = tmp_path / "x.safetensors"
    path.write_bytes(put_together(header, text.format(nested(depth)), data))
    with pytest.raises(WeightFileError) as error:
        hydrart.load(path)
    told(error)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
@pytest.mark.parametrize("shell", [1, 3])
def test_scales_that_are_no_scales(value: float, shell: int, tiny: dict[str, Path], tmp_path: Path) -> None:
    file = WeightFile(tiny["int8"])
    place = file.start + file.layout.tensors[tensor_name(shell, "blocks.0.attn.qkv.scale")].begin
    raw = bytearray(tiny["int8"].read_bytes())
    raw[place : place + 4] = np.float32(value).tobytes()
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    with pytest.raises(WeightFileError) as error:
        hydrart.load(path)(noise(0))
    assert "scale" in told(error) or "not finite" in str(error.value)
    assert "scale" in sentence("classify", made(tmp_path / "good.png"), "--weights", path)


def test_weights_that_overflow_leave_no_warnings(tiny: dict[str, Path], tmp_path: Path) -> None:
    """Finite numbers whose products are not."""
    file = WeightFile(tiny["fp32"])
    place = file.layout.tensors[tensor_name(1, "blocks.0.attn.proj.bias")]
    raw = bytearray(tiny["fp32"].read_bytes())
    raw[file.start + place.begin : file.start + place.end] = np.full(16, 3e38, "<f4").tobytes()
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    with contextlib.suppress(WeightFileError):
        assert np.isfinite(hydrart.load(path)(noise(0)).probabilities).all()


@pytest.mark.parametrize("field", ["licence", "source"])
def test_info_prints_no_control_characters(field: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    header, meta, data = taken_apart(tiny["int8"])
    nasty = "free\x1b[2J\n k\ud800"
    meta[field] = nasty if field == "licence" else {"name": nasty, "sha256": ""}
    path = tmp_path / "x.safetensors"
    path.write_bytes(put_together(header, meta, data))
    shown = call("info", path)
    assert shown.exit_code in (0, 1)
    assert all(line.isprintable() for line in shown.output.splitlines())


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_fuzz(precision: str, seed: int, tiny: dict[str, Path], tmp_path: Path) -> None:
    """Flip or replace one to four bytes, mostly in the header: an error of ours or a finite answer, nothing else."""
    raw = tiny[precision].read_bytes()
    start = len(raw) - len(taken_apart(tiny[precision])[2])
    used = len(raw[:start].rstrip()), len(raw)
    picture = made(tmp_path / "good.png")
    path = tmp_path / "x.safetensors"
    chance = random.Random(f"{precision} {seed}")
    for _ in range(8):
        changed = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            area = chance.choice(((0, 8), (8, used[0]), (8, used[0]), (start, used[1])))
            place = chance.randrange(*area)
            changed[place] = chance.choice((chance.randrange(256), changed[place] ^ 1 << chance.randrange(8)))
        path.write_bytes(changed)
        try:
            model = hydrart.load(path)
            for k in model.heads:
                assert np.isfinite(model(picture, k).probabilities).all()
        except HydrartError as error:
            said = str(error)
            assert "\n" not in said and len(said) < 600
    shown = call("classify", picture, "--weights", path)
    assert shown.exit_code in (0, 1)
    assert shown.stdout.startswith(str(picture)) if shown.exit_code == 0 else "hydrart: " in shown.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.safetensors", "does not exist"),
        ("", "folder"),
        ("file/x.safetensors", "cannot be read"),
        ("x" * 300, "x"),
        ("x" * 300 + ".safetensors", "x"),
    ],
)
@pytest.mark.parametrize("command", ["info", "classify", "slice"])
def test_paths_that_are_no_weights(command: str, name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name
    args: dict[str, tuple[object, ...]] = {
        "info": (path,),
        "classify": ("x.png", "--weights", path),
        "slice": (path, "--heads", 3, "-o", tmp_path / "o"),
    }
    assert words in sentence(command, *args[command])
    with pytest.raises(WeightFileError):
        hydrart.load(path)


def test_a_pipe_is_no_weight_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    signal.alarm(60)
    sentence("info", tmp_path / "x.safetensors")


def test_names_that_nothing_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hydrart.resources.bundled", lambda folder, suffix: {"hydravit-cifar10": tmp_path})
    assert "did you mean hydravit-cifar10" in sentence("info", "hydravit-cifar")
    assert "choose from hydravit-cifar10" in sentence("info", "resnet")


@no_root
@pytest.mark.parametrize("where", ["file", "folder"])
def test_weights_without_permission(where: str, tiny: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "x.safetensors"
    path.write_bytes(tiny["int8"].read_bytes())
    with closed(path if where == "file" else folder):
        assert "ermission" in sentence("info", path)


# pictures


def made(path: Path, seed: int = 0) -> Path:
    Image.fromarray(noise(seed)).save(path)
    return path


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
    """Its good frames are answered; then it is told as broken, and not as one without a readable frame."""
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
        PIXELS[None],
        PIXELS[:0],
        PIXELS[:, :0],
        PIXELS[:, :, :1],
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
        model(noise(0), k=np.array([3, 4]))  # type: ignore[arg-type]
    told(error)


# flags


@pytest.mark.parametrize(
    "args",
    [
        "nothing",
        "classify",
        "classify x.png --top 0",
        "classify x.png --k three",
        "classify x.png --precision fp16",
        "classify x.png --threads 0",
        "classify x.png --no-such-option",
        "eval",
        "eval a b",
        "eval a --batch 0",
        "info a b",
        "slice a",
        "slice a --heads 3",
        "slice a --heads 3-6 -o b",
        "devices a",
        "run somewhere",
        "run --camera 0 --source demo",
        "run --camera -1",
        "run --k 5 --min-k 3",
        "run --k 5 --max-k 7",
        "run --source demo --fps 0",
        "run --source demo --fps -1",
        "run --source demo --fps inf",
        "run --source demo --fps nan",
        "run --source demo --fps fast",
        "run --source demo --duration 0",
        "run --source demo --duration -1",
        "run --source demo --duration nan",
        "run --source demo --max-frames 0",
        "run --source demo --frames some",
    ],
)
def test_wrong_usage(args: str, weights: Path) -> None:
    command = args.split()[0]
    result = call(*args.split(), *["--weights", weights] * (command in ("classify", "eval", "run")))
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr.startswith("Usage: ") and result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("classify {album} --k 2", "k=2 was not trained: choose from 3-12"),
        ("classify {album} --k -3", "choose from 3-12"),
        ("classify {album} --precision int8", "stores fp32, not int8"),
        ("classify {album} --backend cuda", "choose from reference"),
        ("eval {album} --k 13", "choose from 3-12"),
        ("eval {album}", "class folders"),
        ("eval {album}/none", "is no folder"),
        ("eval {album}/0.png", "is no folder"),
        ("eval {album}/..", "none of the network's 10 classes"),
        ("run --source {album} --k 13", "choose from 3-12"),
        ("run --source {album} --min-k 13", "no trained k lies between"),
        ("run --source {album} --max-k 2", "no trained k lies between"),
        ("run --source {album} --min-k 8 --max-k 7", "no trained k lies between"),
        ("run --source {album} --backend cuda", "choose from reference"),
        ("run --source {album} --device generik", "did you mean generic"),
        ("run --source {album} --device {album}", "cannot be read"),
        ("run --source {album} --device {album}/none.yaml", "cannot be read"),
        ("run --source {album} --device {long}", "x"),
        ("run --source {album}/none.mp4", "does not exist"),
        ("run --source {album}/none*", "does not exist"),
        ("run --source {long}", "x"),
        ("run --source rtsp://me:secret@host/1", "URL"),
    ],
)
def test_flags_that_cannot_be_met(args: str, words: str, weights: Path, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    made(album / "0.png")
    names = {"album": album, "long": "x" * 300}
    assert words in sentence(*(arg.format(**names) for arg in args.split()), "--weights", weights)


def test_a_camera_number_beyond_all_numbers(weights: Path) -> None:
    result = call("run", "--source", "9" * 5000, "--weights", weights)
    assert result.exit_code == 1 and result.stderr.splitlines()[-1].startswith("hydrart: ")


def test_a_password_is_not_told(weights: Path) -> None:
    assert "secret" not in call("run", "--source", "rtsp://me:secret@host/1", "--weights", weights).output


@pytest.mark.parametrize("fps", ["1e-300", "1e-320", "1e-9"])
def test_rates_that_never_come(fps: str, weights: Path, tmp_path: Path) -> None:
    for i in range(2):
        made(tmp_path / f"{i}.png")
    result = call("run", "--source", tmp_path, "--weights", weights, "--fps", fps, "--duration", 0.2)
    assert result.exit_code in (0, 2)


@pytest.mark.parametrize("duration", ["inf", "1e300", "1e-300"])
def test_odd_durations(duration: str, weights: Path, tmp_path: Path) -> None:
    result = call("run", "--source", made(tmp_path / "x.png"), "--weights", weights, "--duration", duration)
    assert result.exit_code in (0, 2)


def test_ks_that_were_cut_off(weights: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    good("slice", weights, "--heads", 5, "-o", cut)
    picture = made(tmp_path / "x.png")
    good("classify", picture, "--weights", cut, "--k", 5)
    for args in (("classify", picture), ("eval", tmp_path), ("run", "--source", picture)):
        assert "k=6 was not trained: choose from 3-5" in sentence(*args, "--k", 6, "--weights", cut)
    assert "choose from 3-5" in sentence("slice", cut, "--heads", 6, "-o", tmp_path / "again.safetensors")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("in.safetensors", "is the input itself"),
        ("link", "is the input itself"),
        ("folder", "is a folder"),
        ("none/x.safetensors", "cannot be written"),
        ("in.safetensors/x", "cannot be written"),
        ("x" * 300, "x"),
        ("pipe", "pipe"),
    ],
)
def test_outputs_that_cannot_be_written(output: str, words: str, weights: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.safetensors"
    source.write_bytes(weights.read_bytes())
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(source)
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    assert words in sentence("slice", source, "--heads", 3, "-o", tmp_path / output)
    assert source.read_bytes() == weights.read_bytes()
    assert (tmp_path / "pipe").is_fifo(), "a device would be replaced the same way"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["text", "nothing", "noise"])
def test_files_that_are_no_videos(kind: str, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed (extra: video)")
    path = tmp_path / "x.mp4"
    path.write_bytes({"text": b"moving pictures", "nothing": b"", "noise": random.Random(2).randbytes(5000)}[kind])
    assert "neither a picture nor a video" in sentence("run", "--source", path, "--weights", weights)


def test_pictures_in_memory_are_no_camera(weights: Path) -> None:
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        made(Path(folder, "x.png"))
        for source in (folder, f"{folder}/x.png"):
            good("run", "--source", source, "--weights", weights)


# name -> words of the sentence
PROFILES = {
    "latency: {3: 4}": "did you mean latency_ms",
    "latency_ms: {3: -4}": "positive",
    "latency_ms: {3: .nan}": "positive",
    "latency_ms: {3: fast}": "positive",
    "latency_ms: {3: true}": "positive",
    f"latency_ms: {{3: 1{'0' * 400}}}": "latency_ms",
    f"latency_ms: {{3: {'9' * 5000}}}": "YAML",
    "latency_ms: {3.5: 4}": "whole numbers of heads",
    "latency_ms: {? [1] : 4}": "YAML",
    "latency_ms:": "must be a mapping",
    "power_w: {idle: -1}": "positive",
    "name: 5": "must be a text",
    '"a\\nb\\e[31m": 5': "unknown entry",
    "- 3": "is no mapping",
    "": "is no mapping",
    "{{": "YAML",
    "\t": "YAML",
    "a: *b": "YAML",
    "!!python/name:os.system": "YAML",
    "latency_ms: " + "[" * 1500: "YAML",
}


@pytest.mark.parametrize("text", PROFILES, ids=lambda text: text[:30])
def test_device_profiles_that_are_wrong(text: str, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    said = sentence("run", "--source", "demo", "--device", path, "--weights", weights)
    assert PROFILES[text] in said and str(path) in said


def test_a_device_profile_that_grows_without_bound(weights: Path, tmp_path: Path) -> None:
    """Each line names the one before ten times: a billion entries in 400 bytes."""
    lines = ["    - &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"    - &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path = tmp_path / "x.yaml"
    path.write_text("latency_ms:\n  3:\n" + "\n".join(lines))

    def little_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    # in a process of its own: pytest itself would print the entries if this failed
    args = ("run", "--source", "demo", "--device", str(path), "--weights", str(weights))
    ended = subprocess.run(
        [*PROGRAM, *args], capture_output=True, text=True, timeout=PATIENCE_S, preexec_fn=little_memory, check=False
    )
    assert ended.returncode == 1 and "give a positive number" in ended.stderr.splitlines()[-1]


def test_a_device_profile_of_no_text(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00\xd8")
    assert str(path) in sentence("run", "--source", "demo", "--device", path, "--weights", weights)
