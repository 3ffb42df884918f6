"""Folders of pictures with a folder for each class."""

from pathlib import Path

import pytest
from PIL import Image

from hydrart.errors import PictureError, SourceError
from hydrart.picture.folders import PICTURE_FORMATS, PICTURE_SUFFIXES, class_folders, picture_files
from tests.support.commands import class_tree, closed, no_root


def test_pictures_are_found_by_class(tmp_path: Path) -> None:
    class_tree(tmp_path, {0: "dog", 1: "cat", 2: "dog"})
    (tmp_path / "dog/notes.txt").write_text("no picture")
    (tmp_path / "file.png").write_bytes(b"beside the folders")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "bird").mkdir()
    assert class_folders(tmp_path) == {
        "bird": [],
        "cat": [tmp_path / "cat/1.png"],
        "dog": [tmp_path / "dog/0.png", tmp_path / "dog/2.png"],
    }


def test_what_is_no_folder_of_classes(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no folder: pass one that holds a folder of pictures per class"):
        class_folders(tmp_path / "none")
    (tmp_path / "cat").mkdir()
    with pytest.raises(SourceError, match="holds no pictures in class folders: it must look like"):
        class_folders(tmp_path)


@no_root
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    with closed(tmp_path), pytest.raises(SourceError, match="cannot be read"):
        class_folders(tmp_path)


def test_pictures_below_a_folder(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "a.txt", ".c.png", "sub/d.webp", ".hidden/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert picture_files(tmp_path) == [tmp_path / name for name in ("a.png", "b.JPG", "sub/d.webp")]
    with pytest.raises(PictureError, match="cannot be read"):
        picture_files(tmp_path / "none")


def test_every_suffix_is_a_format_that_pillow_reads() -> None:
    Image.init()
    readable = {suffix for suffix, name in Image.EXTENSION.items() if name in Image.OPEN}
    assert readable >= PICTURE_SUFFIXES
    assert {name for suffix, name in Image.EXTENSION.items() if suffix in PICTURE_SUFFIXES} >= set(PICTURE_FORMATS)
