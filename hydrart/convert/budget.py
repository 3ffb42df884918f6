"""Limits of a pickled checkpoint, checked before PyTorch reads it.

A pickle of a few megabytes can keep its reader busy for minutes: with many steps, with a tuple of tuples whose hash
visits each a billion times, or with a codec of quadratic time. This module goes through the steps (pickletools) and
keeps of each value only what the limits need. It makes none of the values.
"""

import io
import os
import pickletools
import struct
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hydrart.convert.stored import CheckpointError

_MOST_STEPS = 1_000_000  # a network of 1,000 tensors with its optimizer takes 100,000
_MOST_BYTES = 1 << 26  # of the pickle, without the tensors
_MOST_PARTS = 100_000  # of a tuple, with the parts of its parts
_MOST_HASHED = 10_000_000  # parts that may have to be hashed or compared, in all
_DIRECTORY_BYTES = 1 << 23  # of the list of files in an archive: about 100,000
_END, _END_64, _LOCATOR = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"  # records at the end of an archive
_END_BYTES, _END_64_BYTES, _LOCATOR_BYTES, _MOST_COMMENT = 22, 56, 20, 1 << 16
_OLD_PICKLES = 5  # of PyTorch's old format: magic number, version, system, the content, the names of the storages
_ADVICE = "ask its author for the state_dict() alone, or for a .safetensors file"


class _TooMuchError(Exception):
    """A limit is exceeded. The message follows "it"."""


@dataclass
class _Value:
    """What the limits need of a value: the number of its parts, a text or a global's name, and a tuple's items."""

    parts: int = 1
    text: str = ""
    items: tuple["_Value", ...] = ()


def check(path: Path, zipped: bool) -> None:
    """Check the limits of a file. zipped: whether it is an archive. Raises CheckpointError.

    A damaged pickle passes, because PyTorch's reader stops at the damage.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes in names
            if zipped:
                _check_steps(io.BytesIO(_pickle_in(path)))
            else:
                with open(path, "rb") as file:
                    for _ in range(_OLD_PICKLES):
                        _check_steps(file)
    except _TooMuchError as error:
        raise CheckpointError(f"{path} is refused: it {error}; {_ADVICE}") from None
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError):
        return


def _pickle_in(path: Path) -> bytes:
    """The pickle in an archive, without its tensors. Raises _TooMuchError, CheckpointError."""
    try:
        with open(path, "rb") as file:
            _check_directory(file)
            archive = zipfile.ZipFile(file)
            entries = archive.infolist()
            if any(entry.compress_type != zipfile.ZIP_STORED and not _is_code(entry) for entry in entries):
                raise _TooMuchError("is compressed, which PyTorch's own files are not")
            # PyTorch does not distinguish capital letters
            (pickle,) = (entry for entry in entries if entry.filename.lower().rpartition("/")[2] == "data.pkl")
            if pickle.file_size > _MOST_BYTES:
                raise _TooMuchError(f"holds more than {_MOST_BYTES >> 20} MB besides its tensors")
            return archive.read(pickle)
    except _TooMuchError:
        raise
    except Exception:  # on hostile bytes, zipfile raises nearly anything
        raise CheckpointError(
            f"{path} cannot be read as a PyTorch checkpoint: its archive is damaged or cut short"
        ) from None


def _is_code(entry: zipfile.ZipInfo) -> bool:
    """Whether it is source of a TorchScript program, which is refused later."""
    return "/code/" in entry.filename


def _check_directory(file: IO[bytes]) -> None:
    """Check the size of the list of files before zipfile reads it (PKWARE's APPNOTE.TXT, 4.3.14 to 4.3.16)."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST_COMMENT - _END_BYTES - _LOCATOR_BYTES - _END_64_BYTES))
    tail = file.read()
    end = tail.rindex(_END)
    (length,) = struct.unpack_from("<I", tail, end + 12)
    record = end - _LOCATOR_BYTES - _END_64_BYTES
    if tail[max(0, end - _LOCATOR_BYTES) :].startswith(_LOCATOR):
        if record < 0 or not tail[record:].startswith(_END_64):
            raise ValueError("no record of 64 bits")
        (length,) = struct.unpack_from("<Q", tail, record + 40)
    if length > _DIRECTORY_BYTES:
        raise _TooMuchError("holds too many files")
    file.seek(0)


def _check_steps(file: IO[bytes]) -> None:
    """Go through one pickle. Raises _TooMuchError, and any error for damage."""
    start, hashed = file.tell(), 0
    stack: list[_Value] = []
    below: list[list[_Value]] = []  # the stack below each mark
    memo: dict[Any, _Value] = {}
    for number, (step, argument, at) in enumerate(pickletools.genops(file)):
        if number >= _MOST_STEPS:
            raise _TooMuchError(f"takes more than {_MOST_STEPS:,} steps to read")
        if (at or 0) - start > _MOST_BYTES:
            raise _TooMuchError(f"holds more than {_MOST_BYTES >> 20} MB besides its tensors")
        match step.name:
            case "MARK":
                below.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, below.pop()
                stack.append(_tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(step.name[-1])
                stack[-count:] = [_tuple(stack[-count:])]
            case "APPENDS" | "SETITEMS":
                items, stack = stack, below.pop()
                hashed += _add(stack[-1], items)
            case "APPEND" | "SETITEM":
                count = 1 if step.name == "APPEND" else 2
                items, stack[-count:] = stack[-count:], []
                hashed += _add(stack[-1], items)
            case "REDUCE" | "NEWOBJ":
                given, called = stack.pop(), stack.pop()
                if called.text == "_codecs encode" and any(item.text != "latin1" for item in given.items[1:]):
                    raise _TooMuchError("holds text in an unusual code")
                hashed += _parts(given.items)
                stack.append(_Value(_parts(given.items)))
            case "BUILD":
                stack.pop()
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case _:
                taken = len(step.stack_before)
                if taken > len(stack):
                    raise ValueError("the stack is empty")
                del stack[len(stack) - taken :]
                text = argument if isinstance(argument, str) and len(argument) < 100 else ""
                stack.extend(_Value(text=text) for _ in step.stack_after)
        if hashed > _MOST_HASHED:
            raise _TooMuchError(f"holds tables with more than {_MOST_HASHED:,} parts")


def _parts(values: Iterable[_Value]) -> int:
    return sum(value.parts for value in values)


def _add(to: _Value, items: list[_Value]) -> int:
    """Add the parts of items to a list or a table. Returns their number."""
    parts = _parts(items)
    to.parts += parts
    return parts


def _tuple(items: list[_Value]) -> _Value:
    parts = 1 + _parts(items)
    if parts > _MOST_PARTS:
        raise _TooMuchError(f"holds a tuple with more than {_MOST_PARTS:,} parts")
    return _Value(parts, items=tuple(items))
