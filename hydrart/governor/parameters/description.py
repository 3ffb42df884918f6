"""How a parameter is described: beside its value, where programs can read it too."""

from dataclasses import field
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Description(NamedTuple):
    """A parameter in words. source begins with `measured`, `specification` or `chosen`."""

    unit: str
    meaning: str
    source: str
    half: str
    twice: str


def parameter(value: T, unit: str, meaning: str, source: str, half: str, twice: str) -> T:
    """A field of a dataclass: its default, and its description as the field's metadata."""
    description = Description(unit, meaning, source, half, twice)
    return field(default=value, metadata={"description": description})
