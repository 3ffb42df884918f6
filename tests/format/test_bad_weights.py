"""Weight files that are damaged, hostile or not there: one sentence, exit code 1, never a traceback."""

import contextlib
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.errors import HydrartError, WeightFileError
from hydrart.format.layout import tensor_name
from hydrart.format.reader import WeightFile
from tests.support.commands import TINY, Json, call, closed, made, no_root, noise, sentence, told
from tests.support.damage import put, put_together, taken_apart
from tests.support.networks import CIFAR, make_file


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By precision: the smallest files there are."""
    folder = tmp_path_factory.mktemp("tiny")
    return {p: make_file(folder / f"{p}.safetensors", TINY, p) for p in ("fp32", "bf16", "int8")}


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
    "version 3": (put("version", value=3), "version 3"),
    "version 2 without looks": (put("version", value=2), "looks"),
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
    "history of a number": (put("history", value=7), "history"),
    "history of lists": (put("history", value=[[1]]), "history"),
    "history with a list": (put("history", value=[{"lr": [1]}]), "history"),
    "history with an escape": (put("history", value=[{"data": "\x1b[2J"}]), "history"),
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
