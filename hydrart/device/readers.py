"""Readers of this machine's sensors. Each gives one or several readings by their names in hydrart.readings.READINGS."""

import os
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
from pathlib import Path
from typing import Any

from hydrart.device import linux
from hydrart.device.charge import Charge, ChargeError
from hydrart.device.profiles import SensorNames
from hydrart.errors import SettingError
from hydrart.readings import Readings

EVERY_S = 1.0
BATTERY_EVERY_S = 5.0  # gauges move slowly, and each call of a command starts a process
_COMMAND_S = 5.0  # a battery command may take so long
_MOST = 1 << 20  # bytes that it may print
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


class Command:
    """Run a program that reads a battery board, and that prints JSON or a charge. Raises SettingError.

    A number alone is a percentage, such as 87, 87.5 or 87%. One up to 1 with a decimal point is a share, such as 0.87.
    A number may stand behind a word for the charge, as in the lines of acpi, upower and upsc.
    """

    def __init__(self, command: str) -> None:
        try:
            self._args = shlex.split(command) if isinstance(command, str) else []
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
            return self._charge.printed(text)
        except ChargeError as error:
            raise RuntimeError(f"{self._what} printed {reprlib.repr(text) if text else 'nothing'}, {error}") from None

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
