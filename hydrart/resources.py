"""Files that ship with hydrart: `weights/`, `devices/` and the demo clip.

An installed hydrart holds the folders inside the package; a source checkout beside it.
"""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from hydrart.errors import HydrartError

_PACKAGE = Path(__file__).parent

DEMO = _PACKAGE / "demo" / "demo.webp"


def bundled(folder: str, suffix: str) -> dict[str, Path]:
    """Name -> path of what ships in a folder, by name."""
    for root in (_PACKAGE / folder, _PACKAGE.parent / folder):
        if root.is_dir():
            return {path.stem: path for path in sorted(root.glob(f"*{suffix}"))}
    return {}


def find(name: str | os.PathLike[str], folder: str, suffix: str, error: type[HydrartError]) -> Path:
    """The path of a bundled name, or the path itself. Raises `error`, naming what there is."""
    names = bundled(folder, suffix)
    path = Path(name)
    if isinstance(name, str) and name in names:
        return names[name]
    if os.path.exists(path) or path.suffix or len(path.parts) > 1:
        return path
    raise error(f"{name} is neither a file nor one of the {folder} that ship: {suggestion(str(name), names)}")


def suggestion(name: str, names: Iterable[str]) -> str:
    """Which name was probably meant, or all that there are."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {close[0]}?" if close else f"choose from {', '.join(names) or 'none'}"
