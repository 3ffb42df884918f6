"""Read this machine's sensors, each in a thread of its own. One that hangs delays neither frames nor other sensors."""

import contextlib
import logging
import math
import os
import reprlib
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hydrart.background import Background
from hydrart.device import linux
from hydrart.device.charge import Charge
from hydrart.device.profiles import SensorNames
from hydrart.device.readers import BATTERY_EVERY_S, EVERY_S, READERS, Command, Read
from hydrart.errors import SettingError
from hydrart.fork import free_in_children
from hydrart.governor.blind import NEEDED
from hydrart.readings import READINGS, Readings, View, plausible, shown

_SILENT = "no answer"  # of a sensor that takes too long
_log = logging.getLogger("hydrart.sensors")


class Sensors:
    """Read this machine's sensors in the background. Use it in a `with` block.

        with hydrart.Sensors(callback=lambda: {"battery": 0.8}) as sensors:
            print(sensors.latest())

    - names: which sensors to read, as a device profile names them. By default hydrart looks for them.
    - root: the folder that holds sys and proc.
    - callback: a function for battery boards and the like, called once a second. It returns any of the readings by
      name: temp_c (C), battery (0 to 1), power_w (of the whole device), capacity_wh, charging, throttled, undervoltage,
      others_load.
    - battery_cmd: a command that prints the same readings as JSON, or the charge alone, such as 87 or 87%.

    A charge above 1 is taken as a percentage, and so is each one after it.

    Callback and command take precedence over Linux. An impossible or too old value is unknown:
    `hydrart.readings.READINGS` holds the limits. Raises SettingError.
    """

    def __init__(
        self,
        names: SensorNames | None = None,
        *,
        root: str | os.PathLike[str] = "/",
        callback: Read | None = None,
        battery_cmd: str | None = None,
    ) -> None:
        if not isinstance(names, SensorNames | None):
            raise SettingError(f"names={names!r:.80} names no sensors: pass the sensors of a device profile")
        if not isinstance(root, str | os.PathLike):
            raise SettingError(f"root={root!r:.80} is no folder: pass the path of the one that holds sys and proc")
        if callback is not None and not callable(callback):
            raise SettingError(f"callback={callback!r:.80} is no function: pass one that returns readings by name")
        names, folder = names or SensorNames(), Path(root)
        if not folder.is_dir():
            raise SettingError(f"the sensors' root {folder} is no folder: give the one that holds sys and proc")
        needed = dict.fromkeys(reading.reader for reading in READINGS.values() if reading.needed)
        self._pollers = [
            _Poller(name, READERS[name].open(folder, names), READERS[name].every_s)  # in the order of the table
            for name in needed
        ]
        if battery_cmd is not None:
            self._pollers.append(_Poller("battery command", Command(battery_cmd), BATTERY_EVERY_S))
        if callback is not None:
            charge = Charge()
            self._pollers.append(_Poller("callback", lambda: charge.of(callback()), EVERY_S))

    def __enter__(self) -> "Sensors":
        for poller in self._pollers:
            poller.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading. The thread of a reader that hangs is left running."""
        for poller in self._pollers:
            poller.stop()

    def wait(self, seconds: float) -> None:
        """Wait until each reader was called once, for at most so many seconds."""
        end = time.monotonic() + seconds
        for poller in self._pollers:
            poller.called.wait(max(0.0, end - time.monotonic()))

    def latest(self) -> Readings:
        """The known readings: name -> float or bool. An unknown reading is absent."""
        readings: Readings = {}
        for poller in self._pollers:
            readings |= poller.latest()
        return readings

    def new(self) -> Readings:
        """The known readings that are new since the last call, for Governor.observe."""
        readings: Readings = {}
        for poller in self._pollers:
            readings |= poller.new()
        return readings


class _Poller:
    """Call a reader again and again in a thread, and keep its last readings."""

    def __init__(self, name: str, read: Read, every_s: float) -> None:
        self._name, self._read, self._every_s = name, read, every_s
        self._stop = free_in_children(threading.Event())
        self._last: tuple[float, Readings] = (-math.inf, {})
        self._is_new = False
        self._thread: Background | None = None
        self._told: set[str] = set()
        self.called = free_in_children(threading.Event())  # once at least, whatever it gave

    def start(self) -> None:
        self._thread = Background(self._name, self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread = None  # after its stop, a failure of the thread does not count any more

    def latest(self) -> Readings:
        at, readings = self._last
        age_s = time.monotonic() - at
        return {name: value for name, value in readings.items() if age_s <= READINGS[name].fresh_s}

    def new(self) -> Readings:
        if not self._is_new:
            return {}
        self._is_new = False
        return self.latest()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                values = self._read()
                readings = checked(values)
                for name in sorted(values.keys() - readings.keys()):
                    self._tell_impossible(name, values[name])
            except BaseException as error:  # a callback may raise anything; SystemExit would end the thread silently
                self._tell("", f"the {self._name} cannot be read: {_reason(error)}")
                readings = {}
            if readings:
                self._last = time.monotonic(), readings
                self._is_new = True
            self.called.set()
            self._stop.wait(self._every_s)

    def _tell_impossible(self, name: str, value: Any) -> None:
        if value is not None:
            row = READINGS[name]
            wanted = "true or false" if row.is_flag else f"a number from {row.low:g} to {row.high:g}"
            if row.unit == "share":
                wanted += ", or a percentage"
            self._tell(name, f"the {self._name} gives {name}={reprlib.repr(value)}, which cannot be: give {wanted}")

    def _tell(self, about: str, sentence: str) -> None:
        """Warn, once about each thing: a sensor is read every second."""
        if about not in self._told:
            self._told.add(about)
            _log.warning("%s", sentence)


def _reason(error: BaseException) -> str:
    """Return the error's message, or else its type. A program's own error may have no readable message."""
    with contextlib.suppress(Exception):
        return str(error) or type(error).__name__
    return type(error).__name__


def checked(values: Mapping[str, Any]) -> Readings:
    """The known and possible values. Raises ValueError for a name that the table of readings lacks."""
    for name in values:
        if name not in READINGS:
            raise ValueError(f"{name!r} is no reading: use {', '.join(READINGS)}")
    return plausible(values)


def survey(root: str | os.PathLike[str] = "/", wait_s: float = 3.0) -> dict[str, Any]:
    """Read a machine once: `temperatures` of every sensor, then each reading that `devices --here` shows.

    `battery` is the record linux.Battery as a dict. An unknown value is None. A sensor that does not answer within
    wait_s seconds has the value `no answer`.
    """
    folder = Path(root)
    asks: dict[str, Callable[[], Any]] = {"temperatures": lambda: [vars(one) for one in linux.temperatures(folder)]}
    asks |= {name: partial(_read_once, name, folder) for name in shown(View.HERE)}
    asks["battery"] = lambda: (lambda found: found and vars(found))(linux.battery(folder))
    return _answers(asks, wait_s)


def blind_goals(root: str | os.PathLike[str] = "/", wait_s: float = 3.0) -> list[str]:
    """The goals for which this machine has no sensor: `max_temp_c`, `until_h`. One that hangs is none."""
    folder = Path(root)
    found = _answers({name: partial(_read_once, name, folder) for name in NEEDED.values()}, wait_s)
    return [goal for goal, name in NEEDED.items() if found[name] is None or found[name] == _SILENT]


def _answers(asks: Mapping[str, Callable[[], Any]], wait_s: float) -> dict[str, Any]:
    """What each function returns, called at the same time; `no answer` after wait_s seconds."""
    found: dict[str, Any] = {}

    def ask(what: str) -> None:
        found[what] = asks[what]()

    threads = [threading.Thread(target=ask, args=(what,), daemon=True) for what in asks]
    for thread in threads:
        thread.start()
    end = time.monotonic() + wait_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    answered = dict(found)
    return {what: answered.get(what, _SILENT) for what in asks}


def _read_once(name: str, root: Path) -> float | bool | None:
    reader = READERS[READINGS[name].reader]
    read = reader.open(root, SensorNames())
    if reader.settle_s:
        read()
        time.sleep(reader.settle_s)
    return READINGS[name].plausible(read().get(name))
