"""Picture files in folders, and data sets with a folder for each class: root/CLASS/*."""

import os
from collections.abc import Sequence
from pathlib import Path

from hydrart.errors import PictureError, SourceError

PICTURE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in "avif bmp gif jfif jp2 jpeg jpg pbm pgm png pnm ppm tif tiff webp".split()  # noqa: SIM905
)


def is_picture(path: Path) -> bool:
    """Whether the suffix of the name is that of a picture format."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def picture_files(folder: Path) -> list[Path]:
    """Find the pictures in a folder and below it, in the order of their names.

    Hidden files and folders are left out. Raises PictureError where a folder cannot be read.
    """
    found = []
    for root, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(root, name) for name in sorted(files) if not name.startswith("."))
        found += [path for path in paths if is_picture(path)]
    return found


def class_folders(root: Path) -> dict[str, list[Path]]:
    """Find the pictures of root/CLASS/*: class name -> picture files, both in order. Raises SourceError for none."""
    if not os.path.isdir(root):
        raise SourceError(f"{root} is no folder: pass one that holds a folder of pictures per class")
    try:
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise SourceError(f"{root} cannot be read: {error.strerror}") from None
    found = {folder.name: picture_files(folder) for folder in folders}
    if not any(found.values()):
        raise SourceError(f"{root} holds no pictures in class folders: it must look like {root}/cat/1.jpg")
    return found


def class_indices(folders: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Give each folder the index of its class.

    A folder's name is its label, in any case. Where no name is a label and there are as many folders as classes, the
    folders are in the order of the classes; names that are numbers are sorted as numbers. Raises SourceError.
    """
    by_label = {label.casefold(): i for i, label in enumerate(labels)}
    unknown = [name for name in folders if name.casefold() not in by_label]
    if not unknown:
        return [by_label[name.casefold()] for name in folders]
    if len(unknown) == len(folders) == len(labels):
        numbered = all(name.isdecimal() for name in folders)
        order = sorted(folders, key=int) if numbered else sorted(folders)
        return [order.index(name) for name in folders]
    raise SourceError(
        f"the folder {unknown[0]} is none of the network's {len(labels)} classes: name the folders by the labels, "
        "or give one folder per class in the order of the classes"
    )


def _unreadable(error: OSError) -> None:
    raise PictureError(f"the folder {error.filename} cannot be read: {error.strerror}")
