"""The files that a source reads, found without opening it."""

import glob
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hydrart.picture.folders import picture_files
from hydrart.resources import DEMO


def files_of(source: Any) -> list[Path]:
    """The files behind a source: a file, the pictures of a folder, what a glob matches, or what stdin is read from.

    source: as Opener takes it. Cameras, addresses and Python objects have no files.
    """
    if not isinstance(source, str | os.PathLike):
        return []
    name = os.fspath(source)
    if name == "demo":
        return [DEMO]
    if name == "-" or name.startswith("-:"):
        return [Path("/dev/stdin")]
    if name.startswith("file://"):
        name = unquote(urlsplit(name).path)
    if "://" in name:
        return []
    if os.path.isdir(name):
        return picture_files(Path(name))
    if os.path.exists(name):
        return [Path(name)]
    return [Path(match) for match in glob.glob(name, recursive=True)]
