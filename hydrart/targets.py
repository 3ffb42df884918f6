"""Check the files that a command writes. None of them may be a file that it reads, under any name."""

import itertools
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from hydrart.errors import HydrartError, SettingError


def refuse_inputs(target: Path | None, inputs: Iterable[Path | None], error: type[HydrartError] = SettingError) -> None:
    """Raise `error` where writing to the target would destroy one of the inputs.

    A symbolic or hard link to an input is that input. None stands for a file that was not given.
    """
    there = None if target is None else _status(target)
    if there is None or not stat.S_ISREG(there.st_mode):
        return
    for path in inputs:
        if path is not None and (read := _status(path)) is not None and os.path.samestat(there, read):
            raise error(f"{target} is the input itself: give another name to write to")


def refuse_twice(*targets: Path | None) -> None:
    """Raise SettingError where two targets are one file, or will be one."""
    given = [target for target in targets if target is not None]
    for one, other in itertools.combinations(given, 2):
        there, too = _status(one), _status(other)
        if there is None or too is None:
            same = os.path.realpath(one) == os.path.realpath(other)
        else:
            same = stat.S_ISREG(there.st_mode) and os.path.samestat(there, too)
        if same:
            raise SettingError(f"{other} would be written twice at a time: give two different names")


def _status(path: Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None
