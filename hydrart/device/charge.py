"""Read the charge of a battery from what boards, programs and their JSON say."""

import json
import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any

from hydrart.device.linux import OVERFULL
from hydrart.readings import READINGS, Readings

_NUMBER = r"[-+]?\d{1,9}(?:[.,]\d{0,9})?"
_PERCENT = re.compile(rf"(?<![\w.,+-])({_NUMBER})\s*(?:%|percent\b|pct\b)", re.IGNORECASE)
# A line that holds a number alone, or behind a word for the charge: `charge: 87`, `battery.charge: 87`, `BAT0=87`.
_NAMED = re.compile(
    r"(?:power_supply_)?(?:(?:battery|batt?|ups)(?:\s*#?\d+\s*(?=[:=]))?)?[\s._-]*"
    rf"(?:b?charge|level|percent(?:age)?|pct|capacity|soc|state[\s_-]of[\s_-]charge)?\s*[:=]?\s*({_NUMBER})",
    re.IGNORECASE,
)
# Names that other programs' JSON has for the charge, without their signs: those of a percentage, and the others.
_PERCENTAGES = ("percentage", "percent", "pct", "batterypercentage", "batterypercent")
_CHARGES = ("soc", "stateofcharge", "charge", "level", "batterylevel", "batterycharge")
_ADVICE = 'print the charge in percent, such as 87 %, or JSON such as {"battery": 0.87}'


class ChargeError(ValueError):
    """What was read is no charge. The message is a clause for behind "it printed ...", and ends with advice."""


class Charge:
    """The charge of a battery as boards and programs give it, as a share.

    A value up to 1 is a share. A larger one, or a text with %, is a percentage, and so is each value after it. A full
    battery may show up to 110 %.
    """

    def __init__(self) -> None:
        self._in_percent = False
        self._in_shares = False

    def share(self, value: Any, percent: bool = False) -> Any:
        """0 to 1. percent: whether the value is known to be a percentage. What is no charge is returned as it is."""
        try:
            number, signed = _parsed(value)
            return self._of(number, signed or percent)
        except ChargeError:
            return value

    def of(self, readings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The readings of a board, with their charge as a share."""
        if not isinstance(readings, Mapping):
            raise TypeError(f"it returned a value of type {type(readings).__name__}: return readings by name")
        return {**readings, "battery": self.share(readings["battery"])} if "battery" in readings else readings

    def printed(self, text: str) -> Readings:
        """The readings in what a program printed: a charge, a line with one, or JSON. Raises ChargeError."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if isinstance(value, Mapping):
            return self._of_json(value)
        number, percent = _parsed(value)
        return {"battery": self._of(number, percent or type(value) is int)}

    def _of_json(self, entries: Mapping[str, Any]) -> Readings:
        """The readings of hydrart's names, or the charge under the name that another program has for it."""
        if READINGS.keys() & entries.keys():
            return dict(self.of(entries))
        names = {key: re.sub(r"[\W_]", "", key).lower() for key in entries}
        found = [key for key, name in names.items() if name in _PERCENTAGES + _CHARGES]
        if len(found) != 1:
            what = f"with several charges ({', '.join(found)})" if found else "without a charge"
            raise ChargeError(f"a JSON object {what}: {_ADVICE}")
        number, percent = _parsed(entries[found[0]])
        unclear = number == 1 or (0 < number < 1 and names[found[0]] in _PERCENTAGES)
        if unclear and not (percent or self._in_percent or self._in_shares):
            raise ChargeError(f"in which {found[0]} may be {number:g} % or {100 * number:g} %: {_ADVICE}")
        return {"battery": self._of(number, percent)}

    def _of(self, number: float, percent: bool) -> float:
        self._in_percent = self._in_percent or percent or number > OVERFULL
        self._in_shares = self._in_shares or (0 < number < 1 and not self._in_percent)
        share = number / 100 if self._in_percent else number
        if not 0 <= share <= OVERFULL:
            raise ChargeError(f"which does not lie between 0 and 100 %: {_ADVICE}")
        return min(share, 1.0)


def _parsed(value: Any) -> tuple[float, bool]:
    """The number of a value, and whether it has a percent sign. Raises ChargeError."""
    if isinstance(value, str):
        return _read(value)
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:  # a whole number may have thousands of digits
        number = math.nan
    if not math.isfinite(number):
        raise ChargeError(f"which is no number: {_ADVICE}")
    return number, False


def _read(text: str) -> tuple[float, bool]:
    """The number of the charge in lines such as acpi and upower print, and whether it has a percent sign."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    percents = [(line, match) for line in lines for match in _PERCENT.findall(line)]
    if len(percents) > 1:  # upower prints the battery's health as well
        percents = [(line, match) for line, match in percents if line.lower().startswith("percentage")] or percents
    numbers = [match for _, match in percents] or [match[1] for line in lines if (match := _NAMED.fullmatch(line))]
    if len(numbers) > 1:
        raise ChargeError(f"in which there are several charges: {_ADVICE}")
    if not numbers:
        what = ("in which there is no number", "which does not say that it is the charge")
        count = len(re.findall(_NUMBER, text))
        raise ChargeError(f"{what[count] if count < 2 else 'which does not say which number is the charge'}: {_ADVICE}")
    return float(numbers[0].replace(",", ".")), bool(percents)
