"""Write a file that gets its name only when it is whole and checked."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydrart.errors import HydrartError
from hydrart.targets import refuse_inputs


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
        folder = tempfile.TemporaryDirectory(prefix=".hydrart-", dir=output.parent)
    except OSError as error:
        raise ConvertError(f"{output} cannot be written: {error.strerror}") from None
    with folder as name:
        part = Path(name) / output.name
        yield part
        try:
            os.replace(part, output)
        except OSError as error:
            raise ConvertError(f"{output} cannot be written: {error.strerror}") from None
