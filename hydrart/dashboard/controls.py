"""Let the page change a run's settings, within the user's bounds."""

import math
import threading
from dataclasses import dataclass
from typing import Any

from hydrart.errors import SettingError
from hydrart.fork import free_in_children
from hydrart.governor.governor import Governor

_COLDEST_C, _HOTTEST_C = 1, 150
_KEYS = {"k", "max_temp_c"}


@dataclass(frozen=True)
class Bounds:
    """The user's bounds of the run. None: no bound. k: the fixed k. max_temp_c: in degrees Celsius."""

    k: int | None = None
    min_k: int | None = None
    max_k: int | None = None
    max_temp_c: float | None = None

    def allowed(self, heads: tuple[int, ...]) -> tuple[int, ...]:
        """The ks within the bounds."""
        if self.k is not None:
            return (self.k,)
        return tuple(k for k in heads if (self.min_k or 0) <= k <= (self.max_k or math.inf))

    @property
    def of_k(self) -> str:
        """The options that bound k, for people; empty without bounds."""
        given = {"--k": self.k, "--min-k": self.min_k, "--max-k": self.max_k}
        return " ".join(f"{name} {value}" for name, value in given.items() if value is not None)


class Controls:
    """Check the page's settings at once, and change the governor later, in the loop's thread.

    heads: the ks of the network. Before begin() there is no governor yet.
    """

    def __init__(self, heads: tuple[int, ...], bounds: Bounds) -> None:
        self._governor: Governor | None = None
        self._bounds = bounds
        self._heads = bounds.allowed(heads)
        self._guard = free_in_children(threading.Lock())
        self._applied: dict[str, Any] = {"k": bounds.k, "max_temp_c": None}  # the page's settings in force; None: none
        self._wanted: dict[str, Any] = {}  # only the latest request stays, so that a flood costs no memory
        self._default: float | None = bounds.max_temp_c

    def begin(self, governor: Governor) -> None:
        """Change this governor from now on."""
        self._governor, self._default = governor, governor.max_temp_c

    def settings(self) -> dict[str, Any]:
        """The settings in force, the settings after null, and the user's bounds."""
        with self._guard:
            present = self._applied | self._wanted
        limit = present["max_temp_c"]
        return {
            "heads": self._heads,
            "fixed_k": present["k"],
            "max_temp_c": self._default if limit is None else limit,
            "own_max_temp_c": limit,
            "default_max_temp_c": self._default,
            "bounds": {"k": self._bounds.of_k or None, "max_temp_c": self._bounds.max_temp_c},
        }

    def want(self, wanted: Any) -> None:
        """Take {"k": 6, "max_temp_c": 70}, or one of the two. Any thread may call it.

        A null lets the governor choose k, or removes the page's limit. Raises SettingError, and then changes nothing.
        """
        if self._governor is None:
            raise SettingError("the source is not open yet: try again when it is")
        if not isinstance(wanted, dict) or not wanted or not wanted.keys() <= _KEYS:
            raise SettingError('send {"k": a number or null} or {"max_temp_c": a number or null}')
        if "k" in wanted:
            self._check_k(wanted["k"])
        if wanted.get("max_temp_c") is not None:
            self._check_limit(wanted["max_temp_c"], self._governor)
        with self._guard:
            self._wanted |= wanted

    def apply(self) -> str | None:
        """Apply the page's settings to the governor, in the loop's thread. Returns a sentence after an error."""
        if not self._wanted or self._governor is None:
            return None
        with self._guard:
            wanted, self._wanted = self._wanted, {}
            for name, value in wanted.items():
                try:
                    if name == "k":
                        self._governor.fix(value)
                    else:
                        self._governor.limit_temperature(self._bounds.max_temp_c if value is None else value)
                except Exception as error:  # a setting of the page never ends the run
                    return f"a setting of the page was not taken: {error}"
                self._applied[name] = value
        return None

    def _check_k(self, k: Any) -> None:
        if self._bounds.k is not None and k != self._bounds.k:
            raise SettingError(f"k is fixed by {self._bounds.of_k}: leave it out to choose k here")
        if k is not None and (type(k) is not int or k not in self._heads):
            within = f" ({self._bounds.of_k})" if self._bounds.of_k else ""
            raise SettingError(f"k is one of {', '.join(map(str, self._heads))}{within}, or null")

    def _check_limit(self, limit: Any, governor: Governor) -> None:
        if type(limit) not in (int, float) or not _COLDEST_C <= limit <= _HOTTEST_C:
            raise SettingError(f"max_temp_c lies between {_COLDEST_C} and {_HOTTEST_C}, or is null")
        most = self._bounds.max_temp_c
        if most is not None and limit > most:
            raise SettingError(f"max_temp_c is at most {most:g}, as --max-temp says")
        governor.target(limit)
