"""Files that ship with hydrart: `weights/`, `devices/` and the demo clip.

The folders lie inside an installed package, and beside the package in a checkout.
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from hydrart.errors import HydrartError

_PACKAGE = Path(__file__).parent

DEMO = _PACKAGE / "demo" / "demo.webp"
DEFAULT_WEIGHTS = "hydravit-cifar10"  # the network of a command or call that names none


def bundled(folder: str, suffix: str) -> dict[str, Path]:
    """The files with this suffix that ship in a folder: name -> path, sorted by name."""
    for root in (_PACKAGE / folder, _PACKAGE.parent / folder):
        if root.is_dir():
            paths = {path.stem: path for path in root.glob(f"*{suffix}")}
            return dict(sorted(paths.items()))
    return {}


def find(name: str | os.PathLike[str], folder: str, suffix: str, error: type[HydrartError]) -> Path:
    """Turn the name of a file that ships into its path; return any other path as it is.

    Raises `error` for a bare name that neither ships nor exists. The message lists the names that ship.
    """
    names = bundled(folder, suffix)
    path = Path(name)
    if isinstance(name, str) and name in names:
        return names[name]
    if os.path.exists(path) or path.suffix or len(path.parts) > 1:
        return path
    raise error(f"{name} is neither a file nor one of the {folder} that ship: {suggestion(str(name), names)}")


def suggestion(name: str, names: Iterable[str]) -> str:
    """The end of an error message: the name that was probably meant, or all names."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names) or 'none'}"
