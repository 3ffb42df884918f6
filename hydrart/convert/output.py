"""Write a file that gets its name only when it is whole and checked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hydrart.errors import HydrartError
from hydrart.targets import refuse_inputs, replacing


class ConvertError(HydrartError):
    """A conversion cannot be made, or its result differs from its source."""


@contextmanager
def appearing(output: Path, source: Path, *others: Path) -> Iterator[IO[bytes]]:
    """Open a new file that becomes `output` if the block ends well (hydrart.targets.replacing).

    source, others: files that `output` must not be, under any name. Raises ConvertError.
    """
    refuse_inputs(output, (source, *others), ConvertError)
    with replacing(output, ConvertError) as file:
        yield file
