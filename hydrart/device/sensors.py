"""Sensors: read in threads of their own, so that one that hangs delays neither a frame nor another sensor."""

import json
import logging
import math
import os
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydrart.device import linux
from hydrart.device.profiles import SensorNames
from hydrart.errors import SettingError

_log = logging.getLogger("hydrart.sensors")

_EVERY_S = 1.0
_BATTERY_EVERY_S = 5.0  # gauges move slowly, and a command costs a process
_MAX_AGE_S = 10.0  # an older value is unknown
_BATTERY_MAX_AGE_S = 60.0
_COMMAND_S = 5.0  # that a battery command may take
_SLOPE_S = 60.0  # over which power is taken from the fall of the energy where nothing else tells it

# what a reading may hold, and between which bounds a value can be
RANGES = {
    "temp_c": (-40.0, 150.0),
    "battery": (0.0, 1.0),
    "power_w": (0.0, 1000.0),
    "capacity_wh": (0.0, 1e6),
    "others_load": (0.0, 1e4),
}
FLAGS = ("charging", "throttled", "undervoltage")

Values = dict[str, Any]
Callback = Callable[[], Mapping[str, Any]]


class Sensors:
    """What this machine tells while it runs.

    names: which sensors (a device profile's). root: where /sys and /proc lie. callback: called every few seconds, for
    battery boards and the like, returns any of temp_c (C), battery (0 to 1), power_w (of the whole device),
    capacity_wh, charging, throttled, undervoltage. battery_cmd: a command that prints the same as JSON, or the charge
    in percent as a plain number. What callback and command tell goes before what Linux tells. Raises SettingError.
    """

    def __init__(
        self,
        names: SensorNames | None = None,
        *,
        root: str | os.PathLike[str] = "/",
        callback: Callback | None = None,
        battery_cmd: str | None = None,
    ) -> None:
        names, folder = names or SensorNames(), Path(root)
        if not folder.is_dir():
            raise SettingError(f"the sensors' root {folder} is no folder: give the one that holds sys and proc")
        load, thermometer = linux.OthersLoad(folder), linux.Thermometer(folder, names.thermal)
        self._pollers = [
            _Poller("temperature", lambda: {"temp_c": thermometer()}),
            _Poller("throttling", lambda: {"throttled": linux.throttled(folder)}),
            _Poller("supply", lambda: {"undervoltage": linux.undervoltage(folder)}),
            _Poller("load", lambda: {"others_load": load()}),
            _Poller("battery", _Gauge(folder, names.battery), _BATTERY_EVERY_S, _BATTERY_MAX_AGE_S),
        ]
        if battery_cmd is not None:
            command = Command(battery_cmd)
            self._pollers.append(_Poller("battery command", command, _BATTERY_EVERY_S, _BATTERY_MAX_AGE_S))
        if callback is not None:
            self._pollers.append(_Poller("callback", callback, _EVERY_S, _MAX_AGE_S))

    def __enter__(self) -> "Sensors":
        for poller in self._pollers:
            poller.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more. A sensor that hangs is left to itself."""
        for poller in self._pollers:
            poller.stop()

    def latest(self) -> Values:
        """What is known now, by name; nothing that is too old."""
        values: Values = {}
        for poller in self._pollers:
            values |= poller.latest()
        return values

    def news(self) -> Values:
        """What was read since the last call, as Governor.observe takes it."""
        values: Values = {}
        for poller in self._pollers:
            values |= poller.news()
        return values


class _Poller:
    """Calls a function again and again in a thread, and keeps what it returned last."""

    def __init__(
        self,
        name: str,
        read: Callable[[], Mapping[str, Any]],
        every_s: float = _EVERY_S,
        max_age_s: float = _MAX_AGE_S,
    ) -> None:
        self._name, self._read, self._every_s, self._max_age_s = name, read, every_s, max_age_s
        self._stop = threading.Event()
        self._values: tuple[float, Values] = (-math.inf, {})
        self._new = False
        self._told = False

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"hydrart-{self._name}", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def latest(self) -> Values:
        at, values = self._values
        return values if time.monotonic() - at <= self._max_age_s else {}

    def news(self) -> Values:
        if not self._new:
            return {}
        self._new = False
        return self.latest()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                values = checked(self._read())
            except Exception as error:  # a callback's, whatever it is
                if not self._told:
                    _log.warning("the %s cannot be read: %s", self._name, error)
                self._told = True
                values = {}
            if values:
                self._values = time.monotonic(), values
                self._new = True
            self._stop.wait(self._every_s)


class _Gauge:
    """The system's batteries; their power from the fall of the energy where no driver tells it."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name
        self._history: deque[tuple[float, float]] = deque()

    def __call__(self) -> Values:
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
    """A program that tells of a battery board: prints JSON, or a charge in percent."""

    def __init__(self, command: str) -> None:
        try:
            self._args = shlex.split(command)
        except ValueError:
            self._args = []
        if not self._args:
            raise SettingError(f"the battery command {command!r} is no command: give a program and its arguments")

    def __call__(self) -> Values:
        """Raises RuntimeError where it fails, hangs or prints something else."""
        what = f"the command {self._args[0]}"
        try:
            process = subprocess.Popen(
                self._args,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise RuntimeError(f"{what} cannot be run: {error.strerror}") from None
        try:
            out, _ = process.communicate(timeout=_COMMAND_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{what} took longer than {_COMMAND_S:g} s") from None
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        if process.returncode:
            raise RuntimeError(f"{what} ended with exit code {process.returncode}")
        try:
            told = json.loads(out)
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict):
            return told
        if isinstance(told, int | float) and not isinstance(told, bool):
            return {"battery": told / 100}
        raise RuntimeError(f"{what} printed neither a percentage nor a JSON object")


def checked(values: Mapping[str, Any]) -> Values:
    """Those that are known and can be. Raises ValueError for names that are unknown."""
    good: Values = {}
    for name, value in values.items():
        if name in FLAGS:
            if isinstance(value, bool):
                good[name] = value
        elif name not in RANGES:
            raise ValueError(f"{name!r} is no sensor: use {', '.join((*RANGES, *FLAGS))}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            low, high = RANGES[name]
            if low <= value <= high:
                good[name] = float(value)
    return good


def survey(root: str | os.PathLike[str] = "/", wait_s: float = 3.0) -> Values:
    """What a machine offers, by kind; a kind that does not answer in time is `no answer`."""
    folder = Path(root)

    def load() -> float | None:
        others = linux.OthersLoad(folder)
        others()
        time.sleep(0.5)
        return others()

    kinds: dict[str, Callable[[], Any]] = {
        "temperatures": lambda: [vars(sensor) for sensor in linux.temperatures(folder)],
        "temp_c": linux.Thermometer(folder),
        "battery": lambda: (lambda found: found and vars(found))(linux.battery(folder)),
        "throttled": lambda: linux.throttled(folder),
        "undervoltage": lambda: linux.undervoltage(folder),
        "frequency_mhz": lambda: linux.frequency_mhz(folder),
        "others_load": load,
    }
    found: Values = {}

    def ask(kind: str) -> None:
        found[kind] = kinds[kind]()

    threads = [threading.Thread(target=ask, args=(kind,), daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
    end = time.monotonic() + wait_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    answered = dict(found)
    return {kind: answered.get(kind, "no answer") for kind in kinds}
