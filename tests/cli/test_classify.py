"""hydrart classify"""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import hydrart
from tests.support.commands import call, good, json_lines, made, noise, sentence
from tests.support.networks import TOKEN_LOOKS


def test_classify_as_text(album: Path, weights: Path, model: hydrart.Model) -> None:
    shown = good("classify", album, "--weights", weights)
    lines = shown.stdout.splitlines()
    assert len(lines) == 5 and not shown.stderr
    for i, line in enumerate(lines):
        path, _, classes = line.partition(": ")
        assert path == str(album / f"{i}.png") and len(classes.split(", ")) == 3
        assert classes.startswith(model(path).label)


@pytest.mark.parametrize("k", [None, 3, 7])
@pytest.mark.parametrize("top", [1, 4, 99])
def test_classify_as_json_gives_the_model_s_answers(
    k: int | None, top: int, album: Path, weights: Path, model: hydrart.Model
) -> None:
    options = ["--k", k] if k else []
    shown = good("classify", album / "2.png", "--weights", weights, "--json", "--top", top, *options)
    (line,) = json_lines(shown.stdout)
    assert list(line) == ["picture", "k", "label", "score", "top", "preprocess_ms", "infer_ms"]
    answer = model(album / "2.png", k)
    assert (line["picture"], line["k"], line["label"]) == (str(album / "2.png"), k or 12, answer.label)
    assert len(line["top"]) == min(top, 10) and line["top"][0] == [line["label"], line["score"]]
    assert [label for label, _ in line["top"]] == [label for label, _ in answer.top(top)]
    assert abs(line["score"] - answer.score) < 1e-4 and line["infer_ms"] > 0


def test_classify_takes_files_folders_and_globs(album: Path, weights: Path) -> None:
    pictures = (album / "3.png", album / "[0-2].png", album)
    lines = json_lines(good("classify", *pictures, "--weights", weights, "--json").stdout)
    assert [Path(line["picture"]).stem for line in lines] == list("3" + "012" + "01234")


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_how_pictures_become_squares(fit: str, weights: Path, tmp_path: Path) -> None:
    Image.fromarray(noise(1)[:20]).save(tmp_path / "wide.png")
    (line,) = json_lines(good("classify", tmp_path / "wide.png", "--weights", weights, "--json", "--fit", fit).stdout)
    answer = hydrart.load(weights, fit=fit)(tmp_path / "wide.png")
    assert (line["label"], line["score"]) == (answer.label, pytest.approx(answer.score, abs=1e-4))


def test_merged_tokens(weights: Path, model: hydrart.Model, tmp_path: Path) -> None:
    Image.fromarray(noise(1)).save(tmp_path / "a.png")
    command = ("classify", tmp_path / "a.png", "--weights", weights)
    for written, merge in (("5", 5), ("4,0", (4, 0))):
        (line,) = json_lines(good(*command, "--json", "--merge", written).stdout)
        assert line["score"] == pytest.approx(model(tmp_path / "a.png", merge=merge).score, abs=1e-4)
    assert "merge=9 is more than half of the 17 tokens of block 0" in sentence(*command, "--merge", 9)
    assert "one for each of the 2 blocks" in sentence(*command, "--merge", "1,2,3")
    assert call(*command, "--merge", "few").exit_code == 2


def test_the_last_look_answers(make_weights: Callable[..., Path], tmp_path: Path) -> None:
    weights, picture = make_weights(TOKEN_LOOKS), made(tmp_path / "a.png")
    (line,) = json_lines(good("classify", picture, "--weights", weights, "--json").stdout)
    answer = hydrart.load(weights)(picture)
    assert (line["k"], line["label"]) == (12, answer.label)
    assert line["score"] == pytest.approx(answer.score, abs=1e-4)
    assert "k=3 cannot be chosen" in sentence("classify", picture, "--weights", weights, "--k", 3)
