"""Write a file that gets its name only when it is whole and checked."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydrart.errors import HydrartError
from hydrart.targets import hold, refuse_inputs, remove_abandoned


class ConvertError(HydrartError):
    """A conversion cannot be made, or its result differs from its source."""


@contextmanager
def appearing(output: Path, source: Path, *others: Path) -> Iterator[Path]:
    """A temporary path to write to. It is renamed to `output` if the block ends well, and deleted otherwise.

    source, others: files that `output` must not be, under any name. Raises ConvertError.
    """
    try:
        refuse_inputs(output, (source, *others), ConvertError)
        if output.is_dir():
            raise ConvertError(f"{output} is a folder: give the name of a file to write")
        remove_abandoned(output.parent, r"\.hydrart-[a-z0-9_]{8}")
        folder = tempfile.TemporaryDirectory(prefix=".hydrart-", dir=output.parent)
        held = hold(Path(folder.name))
    except OSError as error:
        raise ConvertError(f"{output} cannot be written: {error.strerror}") from None
    try:
        with folder as name:
            part = Path(name) / output.name
            yield part
            try:
                os.replace(part, output)
            except OSError as error:
                raise ConvertError(f"{output} cannot be written: {error.strerror}") from None
    finally:
        os.close(held)
