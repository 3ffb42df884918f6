"""The description of a parameter. It is kept beside the value, where programs can read it too."""

from dataclasses import field
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Description(NamedTuple):
    """A parameter in words. Its source begins with `measured`, `specification` or `chosen`."""

    unit: str
    meaning: str
    source: str
    half: str
    twice: str


def parameter(value: T, unit: str, meaning: str, source: str, half: str, twice: str) -> T:
    """A dataclass field with this default, and with the description as its metadata."""
    description = Description(unit, meaning, source, half, twice)
    return field(default=value, metadata={"description": description})
