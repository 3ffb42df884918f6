"""Readers of this machine's sensors. Each gives one or several readings by their names in hydrart.readings.READINGS."""

import json
import os
import re
import reprlib
import select
import shlex
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from hydrart.device import linux
from hydrart.device.profiles import SensorNames
from hydrart.errors import SettingError
from hydrart.readings import READINGS, Readings

EVERY_S = 1.0
BATTERY_EVERY_S = 5.0  # gauges move slowly, and each call of a command starts a process
_COMMAND_S = 5.0  # a battery command may take so long
_MOST = 1 << 20  # bytes that it may print
_CHARGE = re.compile(r"\+?(\d{1,9}(?:[.,]\d{0,9})?)\s*(%|percent)?", re.IGNORECASE)
_SLOPE_S = 60.0  # without a driver's power, it is the fall of the energy over so many seconds

Read = Callable[[], Mapping[str, Any]]  # name -> value; an unreadable value is None or absent


@dataclass(frozen=True)
class SensorReader:
    """How a sensor is read.

    - open: takes the folder that holds sys and proc, and the sensors' names of a device profile. Returns the function
      that reads.
    - every_s: seconds between two calls during a run.
    - settle_s: seconds to wait between the first call, which gives no value, and the second.
    """

    open: Callable[[Path, SensorNames], Read]
    every_s: float = EVERY_S
    settle_s: float = 0.0


class Gauge:
    """Read the system's batteries. Where no driver gives their power, it is computed from the falling energy."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name
        self._history: deque[tuple[float, float]] = deque()

    def __call__(self) -> Readings:
        battery = linux.battery(self._root, self._name)
        if battery is None:
            return {}
        power_w, now = battery.power_w, time.monotonic()
        if battery.charging or battery.left_wh is None:
            self._history.clear()
        else:
            self._history.append((now, battery.left_wh))
            while len(self._history) > 2 and now - self._history[1][0] >= _SLOPE_S:
                self._history.popleft()
            start, before = self._history[0]
            if power_w is None and now - start >= _SLOPE_S and before > battery.left_wh:
                power_w = (before - battery.left_wh) * 3600 / (now - start)
        return {
            "battery": battery.share,
            "power_w": power_w,
            "charging": battery.charging,
            "capacity_wh": battery.full_wh,
        }


class Charge:
    """The charge of a battery as boards and programs give it, as a share.

    A value up to 1 is a share. A larger one, or a text with %, is a percentage, and so is each value after it. A full
    battery may show up to 110 %. What cannot be a charge is returned as it is.
    """

    def __init__(self) -> None:
        self._in_percent = False

    def share(self, value: Any, percent: bool = False) -> Any:
        """0 to 1. percent: whether the value is known to be a percentage."""
        number = value
        if isinstance(value, str):
            found = _CHARGE.fullmatch(value.strip())
            if found is None:
                return value
            number, percent = float(found[1].replace(",", ".")), percent or bool(found[2])
        if isinstance(number, bool) or not isinstance(number, Real):
            return value
        charge = float(number)
        self._in_percent = self._in_percent or percent or charge > linux.OVERFULL
        share = charge / 100 if self._in_percent else charge
        return min(share, 1.0) if 0 <= share <= linux.OVERFULL else value

    def of(self, readings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The readings of a board, with their charge as a share."""
        if not isinstance(readings, Mapping):
            raise TypeError(f"it returned a value of type {type(readings).__name__}: return readings by name")
        return {**readings, "battery": self.share(readings["battery"])} if "battery" in readings else readings


class Command:
    """Run a program that reads a battery board, and that prints JSON or a charge. Raises SettingError.

    A number alone is a percentage, such as 87, 87.5 or 87%. One up to 1 with a decimal point is a share, such as 0.87.
    """

    def __init__(self, command: str) -> None:
        try:
            self._args = shlex.split(command)
        except ValueError:
            self._args = []
        if not self._args:
            raise SettingError(f"the battery command {command!r} is no command: give a program and its arguments")
        self._what = f"the command {self._args[0]}"
        self._charge = Charge()

    def __call__(self) -> Readings:
        """Run it once. Raises RuntimeError where it fails, hangs or prints something else."""
        text = self._printed().decode("utf-8", "replace").strip()
        try:
            printed = json.loads(text)
        except (ValueError, RecursionError):
            printed = text
        if isinstance(printed, dict):
            return dict(self._charge.of(printed))
        share = self._charge.share(printed, percent=type(printed) is int)
        if READINGS["battery"].plausible(share) is None:
            shown = reprlib.repr(text) if text else "nothing"
            raise RuntimeError(f"{self._what} printed {shown}, which is neither a percentage nor a JSON object")
        return {"battery": share}

    def _printed(self) -> bytes:
        """What the program prints on stdout, until it ends."""
        try:
            process = subprocess.Popen(
                self._args,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeError(f"{self._what} cannot be run: {error.strerror}") from None
        try:
            text = self._read(process, time.monotonic() + _COMMAND_S)
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if process.returncode:
            raise RuntimeError(f"{self._what} ended with exit code {process.returncode}")
        return text

    def _read(self, process: subprocess.Popen[bytes], end: float) -> bytes:
        """All of stdout. Raises RuntimeError where it is too long, or does not end in time."""
        assert process.stdout is not None
        text, stdout = b"", process.stdout.fileno()
        try:
            while select.select([stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                part = os.read(stdout, _MOST)
                text += part
                if len(text) > _MOST:
                    raise RuntimeError(f"{self._what} printed more than {_MOST} bytes: print one line")
                if not part:
                    process.wait(max(0.0, end - time.monotonic()))
                    return text
        except subprocess.TimeoutExpired:
            pass  # it has closed stdout, but goes on
        raise RuntimeError(f"{self._what} took longer than {_COMMAND_S:g} s")


def _named(name: str, read: Callable[[], Any]) -> Read:
    """Make a reader of one reading from a function that returns its value."""
    return lambda: {name: read()}


# The keys are the values of `reader` in READINGS. Messages name a sensor by its key.
READERS: dict[str, SensorReader] = {
    "temperature": SensorReader(lambda root, names: _named("temp_c", linux.Thermometer(root, names.thermal))),
    "throttling": SensorReader(lambda root, names: _named("throttled", lambda: linux.throttled(root))),
    "supply": SensorReader(lambda root, names: _named("undervoltage", lambda: linux.undervoltage(root))),
    "clock": SensorReader(lambda root, names: _named("frequency_mhz", lambda: linux.frequency_mhz(root))),
    "load": SensorReader(lambda root, names: _named("others_load", linux.OthersLoad(root)), settle_s=0.5),
    "battery": SensorReader(lambda root, names: Gauge(root, names.battery), BATTERY_EVERY_S),
}
