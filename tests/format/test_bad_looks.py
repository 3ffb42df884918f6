"""Weight files of several looks that are damaged or hostile: one sentence, never a traceback."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hydrart.errors import UnfinishedWeightFileError, WeightFileError
from hydrart.format.architecture import Architecture
from hydrart.format.layout import tensor_name
from hydrart.format.reader import WeightFile
from tests.support.commands import TINY_LOOKS, Json, sentence, told
from tests.support.damage import put, put_together, taken_apart
from tests.support.networks import make_file

ARCH = "architecture"
HUGE = 10**400  # JSON allows it, a float does not hold it

# name -> (change of header and metadata of a file of looks, words of the sentence)
LOOKS: dict[str, tuple[Callable[[Json, Json], object], str]] = {
    "looks in version 1": (put("version", value=1), "architecture asks for"),
    "no looks": (put("looks", value=[]), "no looks"),
    "looks that are no list": (put("looks", value={"3": 24}), "looks"),
    "looks that are numbers": (put("looks", value=[1, 2]), "looks"),
    "a look without heads": (lambda header, meta: meta["looks"][0].pop("heads"), "heads"),
    "a look of text": (lambda header, meta: meta["looks"][0].update(image_size="4"), "image_size"),
    "a look less": (lambda header, meta: meta["looks"].pop(), "its looks run [1] heads"),
    "10000 looks": (put("looks", value=[{"heads": 1, "image_size": 4}] * 10_000), "its looks run"),
    "other heads": (put("heads", value=[1, 3]), "its looks run [1, 2] heads, its heads are [1, 3]"),
    "looks the wrong way round": (lambda header, meta: meta["looks"].reverse(), "its looks run [2, 1] heads"),
    "heads the wrong way round": (
        lambda header, meta: (meta["looks"].reverse(), meta["heads"].reverse()),
        "not ascending",
    ),
    "a look of 400 digits": (lambda header, meta: meta["looks"][1].update(heads=HUGE), "its looks run"),
    "a size that patches do not divide": (lambda header, meta: meta["looks"][0].update(image_size=6), "multiple of"),
    "a size of 400 digits": (lambda header, meta: meta["looks"][0].update(image_size=HUGE), "look 0 takes"),
    "a negative size": (lambda header, meta: meta["looks"][0].update(image_size=-4), "look 0 takes"),
    "a look larger than the input": (lambda header, meta: meta["looks"][1].update(image_size=12), "look 1 takes"),
    "sizes that descend": (
        lambda header, meta: [look.update(image_size=12 - look["image_size"]) for look in meta["looks"]],
        "descend",
    ),
    "another size that fits": (lambda header, meta: meta["looks"][0].update(image_size=8), "architecture asks for"),
    "fusion by guessing": (put("fusion", value="guess"), "fusion is 'guess'"),
    "no fusion": (lambda header, meta: meta.pop("fusion"), "fusion"),
    "fusion none": (put("fusion", value="none"), "fusion is none"),
    "fusion of tokens": (put("fusion", value="tokens"), "their sizes differ"),
    "a fusion tensor less": (
        lambda header, meta: header.pop("shell02.looks.2.fusion.depthwise.weight"),
        "fusion.depthwise.weight is missing",
    ),
    "looks inside the architecture": (put(ARCH, "looks", value=[]), "unknown entry 'looks'"),
    "separate classifiers": (put(ARCH, "separate_classifiers", value=True), "separate classifiers"),
    "layer scale": (put(ARCH, "layer_scale", value=True), "layer_scale besides"),
    "a checksum of another look": (put("shells", value={"3": "x"}), "k='3'"),
}


@pytest.mark.parametrize("name", LOOKS)
def test_looks_that_do_not_fit(name: str, tmp_path: Path) -> None:
    path = make_file(tmp_path / "x.safetensors", TINY_LOOKS[1], "int8")
    header, meta, data = taken_apart(path)
    change, words = LOOKS[name]
    change(header, meta)
    path.write_bytes(put_together(header, meta, data))
    with pytest.raises(WeightFileError) as error:
        WeightFile(path)
    assert words in told(error) and str(path) in str(error.value)
    assert words in sentence("info", path)


@pytest.mark.parametrize("arch", TINY_LOOKS, ids=lambda arch: arch.fusion)
def test_a_file_of_looks_cut_anywhere(arch: Architecture, tmp_path: Path) -> None:
    path = make_file(tmp_path / "x.safetensors", arch, "int8")
    raw, file = path.read_bytes(), WeightFile(path)
    places = {*range(0, len(raw), len(raw) // 60), file.start, file.start + 1, len(raw) - 1}
    places |= {file.start + file.end(1) + step for step in (-1, 0, 1)}  # where the second look begins
    places |= {file.start + tensor.begin + 1 for tensor in file.layout.tensors.values()}
    for place in sorted(places):
        path.write_bytes(raw[:place])
        with pytest.raises(UnfinishedWeightFileError) as error:
            WeightFile(path)
        told(error)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e7])
@pytest.mark.parametrize(
    "name", ["looks.1.blocks.0.gate.gamma", "looks.1.pos_embed", "looks.2.fusion.depthwise.weight"]
)
def test_numbers_of_looks_that_are_none(name: str, value: float, tmp_path: Path) -> None:
    path = make_file(tmp_path / "x.safetensors", TINY_LOOKS[1])
    file = WeightFile(path)
    raw = bytearray(path.read_bytes())
    place = file.start + file.layout.tensors[tensor_name(int(name[6]), name)].begin
    raw[place : place + 4] = np.float32(value).tobytes()
    path.unlink()  # the file is mapped
    path.write_bytes(raw)
    with pytest.raises(WeightFileError) as error:
        WeightFile(path).state(2)
    assert name in told(error) and "not finite, or beyond" in str(error.value)
