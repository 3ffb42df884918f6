"""Decoders write to stderr in their own words, and a command says each thing once, in its own."""

import contextlib
import ctypes
import importlib
import logging
import warnings
from pathlib import Path


def silence_decoders() -> None:
    """Keep Pillow and its libtiff from writing to stderr, in this whole process: for programs, not for libraries.

    Pillow warns of large pictures, which hydrart refuses itself, and of damaged EXIF data, which does no harm.
    """
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    extension = importlib.import_module("PIL._imaging")
    for path in _libraries("libtiff", Path(extension.__file__ or "")):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(path)
            # https://libtiff.gitlab.io/libtiff/functions/TIFFError.html: without a handler nothing is printed
            library.TIFFSetErrorHandler(None)
            library.TIFFSetWarningHandler(None)


def _libraries(name: str, extension: Path) -> set[str]:
    """The mapped files of this process that are called so, and Pillow's extension, which may contain the library."""
    try:
        lines = Path("/proc/self/maps").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return {str(extension)}
    paths = {fields[5] for line in lines if len(fields := line.split(maxsplit=5)) == 6}
    return {path for path in paths if Path(path).name.startswith(name)} | {str(extension)}
