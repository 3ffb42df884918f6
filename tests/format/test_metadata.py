"""format/metadata.py alone: what dump() writes parse() reads, and what parse() refuses. See test_bad_weights.py."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hydrart.errors import WeightFileError
from hydrart.format.metadata import Accuracy, Metadata, dump, parse
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.format.writer import write
from tests.support.networks import SMALL, random_state

META = Metadata(
    architecture=replace(SMALL, heads=(3, 6), layer_scale=True),
    precision="bf16",
    preprocessing=Preprocessing(32, 0.9, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear"),
    labels=tuple("abcdefghij"),
    accuracy=Accuracy("made up", 7, {3: 0.5, 6: 0.75}, {3: 1.0}),
    digests={3: "ab", 6: "cd"},
)


def test_metadata_survives(tmp_path: Path) -> None:
    meta = Metadata(
        architecture=replace(SMALL, heads=(3, 6)),
        precision="bf16",
        preprocessing=Preprocessing(32, 0.9, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bilinear"),
        labels=tuple(f"étiquette {i}" for i in range(10)),
        accuracy=Accuracy("made up", 7, {3: 0.5, 6: 0.75}, {3: 1.0, 6: 1.0}),
        licence="CC0-1.0",
        source="x.pth",
        source_sha256="ab" * 32,
        history=({"data": "x/train", "epochs": 2.5, "seed": 1},),
    )
    path = tmp_path / "x.safetensors"
    write(path, meta, random_state(meta.architecture))
    read = WeightFile(path).meta
    assert replace(read, digests={}) == meta
    assert set(read.digests) == {3, 6}
    cut = read.cut(3)
    assert cut.accuracy == Accuracy("made up", 7, {3: 0.5}, {3: 1.0}) and cut.architecture.heads == (3,)


@pytest.mark.parametrize(
    "meta", [META, replace(META, labels=(), accuracy=None, digests={}), replace(META, history=({"lr": 1e-3},))]
)
def test_what_is_dumped_is_parsed(meta: Metadata) -> None:
    assert parse(dump(meta)) == meta


def test_the_keys_of_version_1() -> None:
    written = json.loads(dump(META))
    assert list(written) == [
        *("version", "architecture", "heads", "precision", "preprocessing", "labels"),
        *("accuracy", "licence", "source", "shells", "history"),
    ]
    assert written["version"] == 1 and written["heads"] == [3, 6] and written["shells"] == {"3": "ab", "6": "cd"}
    assert written["preprocessing"]["colour"] == "RGB" and "heads" not in written["architecture"]
    assert written["accuracy"]["top1"] == {"3": 0.5, "6": 0.75}


def test_a_cut_keeps_what_belongs_to_smaller_networks() -> None:
    cut = META.cut(5)
    assert cut.architecture.heads == (3,) and cut.digests == {3: "ab"}
    assert cut.accuracy == Accuracy("made up", 7, {3: 0.5}, {3: 1.0})
    assert META.cut(6) == META and replace(META, accuracy=None).cut(3).accuracy is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "format version 3, this hydrart reads versions 1 and 2"),
        ({"version": 2}, "no valid 'looks'"),
        ({"version": 2, "looks": []}, "version 2 and no looks"),
        ({"heads": []}, "heads"),
        ({"precision": "int4"}, "int4"),
        ({"labels": ["a"]}, "1 labels for 10 classes"),
        ({"licence": None}, "licence"),
        ({"shells": {"4": "ab"}}, "k='4'"),
        ({"accuracy": {"dataset": "x", "pictures": 1, "top1": {"3": 1.5}, "top5": {}}}, "from 0 to 1"),
        ({"history": [{"lr": [1]}]}, "history"),
    ],
)
def test_what_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightFileError, match=words):
        parse(json.dumps(json.loads(dump(META)) | change))


@pytest.mark.parametrize("text", ["", "{", "NaN", "[" * 100_000])
def test_text_that_is_no_json(text: str) -> None:
    with pytest.raises(WeightFileError, match="is not JSON"):
        parse(text)
