"""Find the files that a source reads, without opening the source."""

import glob
import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hydrart.picture.folders import matching, picture_files
from hydrart.resources import DEMO


def files_of(source: Any) -> list[Path]:
    """Return a source's files: a file, a folder's pictures, a glob's matches, or the file behind stdin.

    source: see Opener. Cameras, addresses and Python objects have no files.
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
    matches = [Path(match) for match in glob.glob(name, recursive=True)]
    return matches if any(map(os.path.isfile, matches)) else matching(name)
