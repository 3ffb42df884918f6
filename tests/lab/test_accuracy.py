"""Tables of accuracies: of the model that ships, of the paper, and files that are wrong."""

from pathlib import Path

import pytest

from hydrart.errors import ProfileError
from hydrart.lab.accuracy import model_accuracy
from tests.support.commands import sentence


def test_accuracies(tmp_path: Path) -> None:
    shipped, paper = model_accuracy(None), model_accuracy("hydravit-b")
    assert list(shipped) == list(paper) == list(range(3, 13)) and 0.5 < shipped[3] < shipped[11]
    assert (paper[3], paper[6], paper[12]) == (0.7265, 0.8008, 0.8177)
    path = tmp_path / "a.yaml"
    for text, words in {
        "{}": "is empty",
        "3: 200": "above 100",
        "three: 1": "whole numbers",
        "3: x": "positive",
    }.items():
        path.write_text(text)
        args = ("--device", "raspberrypi5", "--trace", "quiet", "--accuracy", path)
        assert words in sentence("simulate", *args)


def test_percentages_and_shares_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("{3: 60, 12: 80.5}")
    assert model_accuracy(str(path)) == {3: 0.6, 12: 0.805}
    path.write_text("{12: 0.805, 3: 0.6}")
    assert model_accuracy(str(path)) == {3: 0.6, 12: 0.805} and list(model_accuracy(str(path))) == [3, 12]
    with pytest.raises(ProfileError, match="choose from"):
        model_accuracy("nowhere")
