"""Classes are found by their names."""

import unicodedata

import pytest

from hydrart.errors import SourceError
from hydrart.picture.classes import class_indices, difference, listed

DECOMPOSED = unicodedata.normalize("NFD", "Éclair")


@pytest.mark.parametrize(
    ("folders", "labels", "indices"),
    [
        (["cat", "Dog"], ["dog", "CAT", "bird"], [1, 0]),
        (["A", "B", "a", "b"], ["a", "A", "b", "B"], [1, 3, 0, 2]),
        ([DECOMPOSED, "b"], ["b", "Éclair"], [1, 0]),
        (["Éclair"], ["b", DECOMPOSED], [1]),
        ([DECOMPOSED.lower()], ["Éclair"], [0]),
        (["STRASSE"], ["Straße"], [0]),
    ],
    ids=["in any case", "labels that differ in case", "a Mac's folder", "a Mac's label", "both", "full folding"],
)
def test_the_class_of_each_folder(folders: list[str], labels: list[str], indices: list[int]) -> None:
    assert class_indices(folders, labels) == indices


@pytest.mark.parametrize(
    ("folders", "indices"),
    [(["n01", "n02"], [0, 1]), (["10", "2"], [1, 0]), (["dog", "cat"], [1, 0])],
    ids=["by order", "numbers by value", "even against the names"],
)
def test_folders_in_the_order_of_the_classes(folders: list[str], indices: list[int]) -> None:
    assert class_indices(folders, ["cat", "dog"], in_order=True) == indices


@pytest.mark.parametrize("folders", [["cat", "mouse"], ["a", "b", "c"], ["a", "b"], ["0", "1"]])
def test_folders_that_fit_no_class(folders: list[str]) -> None:
    with pytest.raises(SourceError, match=r"is none of the network's 2 classes \(cat, dog\): name the folders by the "):
        class_indices(folders, ["cat", "dog"])


def test_names_that_are_ambiguous() -> None:
    with pytest.raises(SourceError, match="the folder Ab may be any of the classes ab, AB: name the folders"):
        class_indices(["Ab"], ["ab", "AB"])
    with pytest.raises(SourceError, match="may be any of the classes crane, crane: name the folders by"):
        class_indices(["crane"], ["crane", "bird", "crane"])
    with pytest.raises(SourceError, match="the folders cat and CAT are both the class Cat: put their pictures into"):
        class_indices(["cat", "CAT"], ["Cat"])
    with pytest.raises(SourceError, match="are both the class"):
        class_indices(["Éclair", DECOMPOSED], ["Éclair"])
    with pytest.raises(SourceError, match="1 folders cannot be the network's 2 classes in order: give one folder per"):
        class_indices(["a"], ["cat", "dog"], in_order=True)


@pytest.mark.parametrize(
    ("known", "labels", "said"),
    [
        (["cat", "Dog"], ["Cat", "dog"], None),
        (["Éclair"], [DECOMPOSED], None),
        (["cat", "dog"], ["cat", "mouse"], "it does not know mouse"),
        (["cat", "dog", "elk"], ["cat", "dog"], "it knows elk as well"),
        (["dog", "cat"], ["cat", "dog"], "its class 0 is dog, that of the pictures is cat"),
        (["a", "A"], ["A", "a"], "its class 0 is a, that of the pictures is A"),
    ],
)
def test_how_two_networks_classes_differ(known: list[str], labels: list[str], said: str | None) -> None:
    assert difference(known, labels) == said


def test_many_names_are_cut() -> None:
    assert listed(map(str, range(22))).endswith("20, 21")
    assert listed(f"class {i:04}" for i in range(1000)).endswith("class 0012 and 987 more")
    assert listed(["x" * 500, "y"]) == "x" * 500 + " and 1 more"
