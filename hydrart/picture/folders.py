"""Find picture files in folders, and in data sets with one folder per class: root/CLASS/*."""

import glob
import os
from pathlib import Path

from hydrart.errors import PictureError, SourceError

PICTURE_FORMATS = {
    "JPEG": "jfif jpeg jpg",
    "PNG": "png",
    "WEBP": "webp",
    "BMP": "bmp",
    "GIF": "gif",
    "TIFF": "tif tiff",
    "PPM": "pbm pgm pnm ppm",
    "AVIF": "avif",
    "JPEG2000": "jp2",
}
"""Pillow's names of hydrart's picture formats -> suffixes of their files. None of their readers runs a program."""

PICTURE_SUFFIXES = frozenset(f".{suffix}" for suffixes in PICTURE_FORMATS.values() for suffix in suffixes.split())


def is_picture(path: Path) -> bool:
    """Whether the name has the suffix of a picture format."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def picture_files(folder: Path) -> list[Path]:
    """Find the pictures in a folder and its subfolders, sorted by name.

    The result has no hidden files or folders. Raises PictureError if a folder cannot be read.
    """
    found = []
    for root, folders, files in os.walk(folder, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(root, name) for name in sorted(files) if not name.startswith("."))
        found += [path for path in paths if is_picture(path)]
    return found


def matching(pattern: str) -> list[Path]:
    """Find the files that match a glob, sorted. If only folders match, find the pictures in them.

    Raises PictureError if a folder cannot be read.
    """
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]
    return [path for path in matches if path.is_file()] or [
        picture for folder in matches if folder.is_dir() for picture in picture_files(folder)
    ]


def why_unmatched(pattern: str) -> str:
    """Say in a sentence why matching() finds no file."""
    if os.path.islink(pattern):
        return f"{pattern} is a link to {os.readlink(pattern)}, which does not exist: check the link"
    if not glob.has_magic(pattern):
        return f"{pattern} does not exist and no file matches it: check the path"
    parts = Path(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:fixed])
    if not base.is_dir():
        return f"no file matches {pattern}: there is no folder {base}"
    if any(map(os.path.isdir, glob.iglob(pattern, recursive=True))):
        return f"no file matches {pattern}, only folders without pictures: pass a folder that holds pictures"
    if any(glob.iglob(pattern, recursive=True, include_hidden=True)):
        return f"no file matches {pattern}, because * leaves out hidden names: write their dot, as in .*.jpg"
    return f"no file matches {pattern}: check the pattern, and the folder {base.absolute()}"


def class_folders(root: Path) -> dict[str, list[Path]]:
    """Find root/CLASS/*: class name -> picture files, both sorted. Raises SourceError if there are none."""
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


def _unreadable(error: OSError) -> None:
    raise PictureError(f"the folder {error.filename} cannot be read: {error.strerror}")
