"""Match folders of pictures, or another network's classes, to a network's classes."""

import unicodedata
from collections.abc import Iterable, Sequence

from hydrart.errors import SourceError

_SHOWN = 160  # length limit of a list in a message, in characters


def normal(name: str) -> str:
    """Return the name with composed letters (Unicode NFC), because macOS decomposes the names of files."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return the name casefolded and composed."""
    return normal(normal(name).casefold())


def listed(names: Iterable[str]) -> str:
    """Return the first names for a message, and the number of the others."""
    known = list(names)
    shown, length = 0, 0
    while shown < len(known) and (not shown or length + len(known[shown]) <= _SHOWN):
        length += len(known[shown]) + 2
        shown += 1
    return ", ".join(known[:shown]) + (f" and {len(known) - shown} more" if shown < len(known) else "")


class Classes:
    """The classes of a network, found by name."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._alike: dict[str, list[int]] = {}
        for i, label in enumerate(labels):
            self._exact.setdefault(normal(label), []).append(i)
            self._alike.setdefault(folded(label), []).append(i)

    def of(self, name: str) -> list[int]:
        """Return the indices of the classes with that name, or else of those that differ only in case."""
        return self._exact.get(normal(name)) or self._alike.get(folded(name), [])


def class_indices(folders: Sequence[str], labels: Sequence[str], in_order: bool = False) -> list[int]:
    """Give each folder the index of its class.

    A folder's name is its label, with composed or decomposed letters. Case counts only if two labels differ in case
    alone. in_order: ignore the names and match the sorted folders to the classes by position. Numbers sort as numbers.
    Raises SourceError, which names the classes.
    """
    if in_order:
        if len(folders) != len(labels):
            raise SourceError(
                f"{len(folders)} folders cannot be the network's {len(labels)} classes in order: "
                "give one folder per class"
            )
        numbered = all(name.isdecimal() for name in folders)
        order = sorted(folders, key=int) if numbered else sorted(folders)
        return [order.index(name) for name in folders]
    classes = Classes(labels)
    found: dict[int, str] = {}
    for folder in folders:
        indices = classes.of(folder)
        if not indices:
            raise SourceError(
                f"the folder {folder} is none of the network's {len(labels)} classes ({listed(labels)}): "
                "name the folders by the labels, or give one folder per class, in order, and --in-order"
            )
        if len(indices) > 1:
            raise SourceError(
                f"the folder {folder} may be any of the classes {listed(labels[i] for i in indices)}: "
                "name the folders by the labels, in the same case, or give one folder per class, in order, "
                "and --in-order"
            )
        if indices[0] in found:
            raise SourceError(
                f"the folders {found[indices[0]]} and {folder} are both the class {labels[indices[0]]}: "
                "put their pictures into one folder"
            )
        found[indices[0]] = folder
    return list(found)


def difference(known: Sequence[str], labels: Sequence[str]) -> str | None:
    """Describe the difference between a network's classes `known` and `labels` as a clause; None if they are equal.

    Order counts. Case does not count, nor does the composition of letters.
    """
    theirs, ours = Classes(known), Classes(labels)
    if lacking := [label for label in labels if not theirs.of(label)]:
        return f"it does not know {listed(lacking)}"
    if more := [name for name in known if not ours.of(name)]:
        return f"it knows {listed(more)} as well"
    for at, (name, label) in enumerate(zip(known, labels, strict=False)):
        if theirs.of(label) != [at]:
            return f"its class {at} is {name}, that of the pictures is {label}"
    return None
