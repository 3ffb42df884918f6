"""Files that ship with hydrart: `weights/`, `devices/` and the demo clip.

The folders lie inside an installed package, and beside the package in a checkout.
"""

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from hydrart.errors import HydrartError

_PACKAGE = Path(__file__).parent

DEMO = _PACKAGE / "demo" / "demo.webp"
DEFAULT_WEIGHTS = "hydravit-cifar10"  # the network of a command or call that names none

_SHOWN = 100  # characters of a name in a message


def bundled(folder: str, suffix: str) -> dict[str, Path]:
    """The files with this suffix that ship in a folder: name -> path, sorted by name."""
    for root in (_PACKAGE / folder, _PACKAGE.parent / folder):
        if root.is_dir():
            paths = {path.stem: path for path in root.glob(f"*{suffix}")}
            return dict(sorted(paths.items()))
    return {}


def find(name: str | os.PathLike[str], folder: str, suffix: str, error: type[HydrartError]) -> Path:
    """Turn the name of a file that ships into its path; return any other path as it is.

    Raises `error` for an address, for an empty name, and for a bare name that neither ships nor exists. The message
    lists the names that ship.
    """
    names, text = bundled(folder, suffix), os.fspath(name)
    path = Path(text)
    if isinstance(name, str) and name in names:
        return names[name]
    if not text:
        raise error(f"an empty text is no path and none of the {folder} that ship: {suggestion(text, names)}")
    if os.path.exists(path):
        return path
    if is_address(text):
        raise error("an address is not opened, because hydrart downloads nothing: download the file, and pass its path")
    if len(path.parts) > 1 or (path.suffix and path.stem not in names):
        return path
    shown = text if text.isprintable() and len(text) <= _SHOWN else ascii(text[:_SHOWN])
    raise error(f"{shown} is neither a file nor one of the {folder} that ship: {suggestion(text, names)}")


def is_address(text: str) -> bool:
    """Whether the text is a URL, and no file of that name exists."""
    return bool(re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE)) and not os.path.exists(text)


def suggestion(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the name that was probably meant, or all names."""
    known = {one.lower(): one for one in names}
    close = difflib.get_close_matches(name.lower(), known, 1)
    return f"did you mean {known[close[0]]}?" if close else f"choose from {', '.join(known.values()) or 'none'}"
