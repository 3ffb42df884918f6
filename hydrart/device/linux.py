"""Read Linux' files on heat, power, clock and load, below a root folder. An unreadable or impossible value is None.

Sensors often fail (EAGAIN, ENODATA, EIO), lack attributes, or give absurd values. The kernel describes the files in
Documentation/ABI/testing/sysfs-class-{thermal,power,hwmon}.
"""

import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from hydrart.readings import READINGS

OVERFULL = 1.1  # share that a gauge may show of a full battery
_MOST = 4096  # no attribute has more bytes
_CPU_ZONE = re.compile("cpu|soc|pkg|package|core|tctl", re.IGNORECASE)
_CPU_HWMON = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu", "soc_thermal")
_COOLING_CPU = re.compile("cpu|processor", re.IGNORECASE)
# The Raspberry Pi's firmware sets these bits now. The same bits 16 places higher say what happened since the start.
_UNDERVOLTAGE, _THROTTLED = 0b0001, 0b1110
_CPUS = "sys/devices/system/cpu"
# A driver that breaks the ABI gives whole degrees in place of thousandths. Numbers below this are such degrees, or a
# sentinel, until the sensor has once given a larger one.
_MILLI = 1000
_HOTTEST = int(READINGS["temp_c"].high)
_LEAST_WH, _LEAST_W = 0.5, 0.05  # less is no system's battery, and no running computer: the driver's unit is wrong
_PI_FLAGS = "sys/devices/platform/soc/soc:firmware/get_throttled"


@dataclass(frozen=True)
class Temperature:
    """A sensor's name (a thermal zone's type, or hwmon's name and label), and its reading in degrees Celsius."""

    name: str
    celsius: float | None


@dataclass(frozen=True)
class Battery:
    """All batteries together.

    - names: of the batteries.
    - left_wh, full_wh: energy left, and energy of the full batteries.
    - share: left_wh over full_wh, 0 to 1.
    - power_w: power that the device draws from them; None unless they discharge.
    - charging: whether a supply is connected.
    """

    names: tuple[str, ...]
    left_wh: float | None
    full_wh: float | None
    share: float | None
    power_w: float | None
    charging: bool | None


def text(path: Path) -> str | None:
    """An attribute's text without its line end; None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(_MOST).decode("utf-8", "replace").strip().rstrip("\0")
    except OSError:
        return None


def number(path: Path) -> float | None:
    """An attribute's number; None where it cannot be read or is not a finite number."""
    try:
        value = float(text(path) or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def temperatures(root: Path, milli: set[Path] | None = None) -> list[Temperature]:
    """The readings of every thermal zone, then of every hwmon sensor.

    milli: the sensors that have shown that they count in thousandths of a degree. This call adds those that show it.
    """
    found, milli = [], set() if milli is None else milli
    for zone in _sorted(root / "sys/class/thermal", "thermal_zone*"):
        found.append(Temperature(text(zone / "type") or zone.name, _celsius(zone / "temp", milli)))
    for monitor in _sorted(root / "sys/class/hwmon", "hwmon*"):
        name = text(monitor / "name") or monitor.name
        for sensor in _sorted(monitor, "temp*_input"):
            stem = sensor.name.removesuffix("_input")
            label = text(monitor / f"{stem}_label") or stem
            off = number(monitor / f"{stem}_fault") == 1 or number(monitor / f"{stem}_enable") == 0
            found.append(Temperature(f"{name} {label}", None if off else _celsius(sensor, milli)))
    return found


class Thermometer:
    """Read the hottest of some sensors, in degrees Celsius.

    name: the type of thermal zones, or the name of a hwmon device. `auto` takes the CPU's sensors, or all sensors where
    none is the CPU's. No other sensor replaces a CPU's sensor that vanishes. `none` reads nothing.
    """

    def __init__(self, root: Path, name: str = "auto") -> None:
        self._root, self._name = root, name
        self._of_cpu = False
        self._milli: set[Path] = set()

    def __call__(self) -> float | None:
        if self._name == "none":
            return None
        found = temperatures(self._root, self._milli)
        if self._name == "auto":
            wanted = [sensor for sensor in found if _is_cpu(sensor.name)]
            self._of_cpu = self._of_cpu or bool(wanted)
            if not self._of_cpu:
                wanted = found
        else:
            wanted = [sensor for sensor in found if self._name in (sensor.name, sensor.name.split(" ")[0])]
        return max((sensor.celsius for sensor in wanted if sensor.celsius is not None), default=None)


def battery(root: Path, name: str = "auto") -> Battery | None:
    """The state of the system's batteries, or of the one with this name; None where there is none."""
    if name == "none":
        return None
    supplies = _sorted(root / "sys/class/power_supply", "*")
    cells = [s for s in supplies if text(s / "type") == "Battery" and text(s / "scope") != "Device"]
    cells = [s for s in cells if name in ("auto", s.name) and number(s / "present") != 0]
    if not cells:
        return None
    mains = [s for s in supplies if text(s / "type") in ("Mains", "USB", "Wireless")]
    plugged = any((number(s / "online") or 0) >= 1 for s in mains)
    energies = [_energy(cell) for cell in cells]
    left = _sum([energy for energy, _ in energies])
    full = _sum([capacity for _, capacity in energies])
    if left is not None and full and left <= OVERFULL * full:
        share: float | None = min(1.0, left / full)
    else:  # shares of several batteries have no meaning together
        share = _share(cells[0]) if len(cells) == 1 else None
        left = share * full if share is not None and full else None
    states = {text(cell / "status") for cell in cells}
    charging: bool | None = None
    if "Discharging" in states:
        charging = False
    elif states & {"Charging", "Full", "Not charging"} or plugged:
        charging = True
    power = _sum([_power(cell) for cell in cells if text(cell / "status") not in ("Full", "Not charging")])
    return Battery(
        names=tuple(cell.name for cell in cells),
        left_wh=left,
        full_wh=full,
        share=share,
        power_w=power if charging is not True and power else None,  # a driver that does not know the power says 0
        charging=charging,
    )


def pi_flags(root: Path) -> int | None:
    """The bits of the Raspberry Pi's get_throttled; None on other machines."""
    flags = text(root / _PI_FLAGS)
    return int(flags, 16) if flags and re.fullmatch("(0x)?[0-9a-fA-F]{1,8}", flags) else None


def throttled(root: Path) -> bool | None:
    """Whether heat slows the CPU down right now."""
    flags = pi_flags(root)
    states = [
        number(device / "cur_state")
        for device in _sorted(root / "sys/class/thermal", "cooling_device*")
        if _COOLING_CPU.search(text(device / "type") or "")
    ]
    known = [state > 0 for state in states if state is not None]
    if flags is not None:
        known.append(bool(flags & _THROTTLED))
    return any(known) if known else None


def undervoltage(root: Path) -> bool | None:
    """Whether the supply is too weak right now."""
    flags = pi_flags(root)
    alarms = [
        number(monitor / "in0_lcrit_alarm")
        for monitor in _sorted(root / "sys/class/hwmon", "hwmon*")
        if text(monitor / "name") == "rpi_volt"
    ]
    known = [alarm == 1 for alarm in alarms if alarm is not None]
    if flags is not None:
        known.append(bool(flags & _UNDERVOLTAGE))
    return any(known) if known else None


def frequency_mhz(root: Path) -> float | None:
    """The clock that the kernel asks for in MHz, the mean of all cores. The real clock may be lower."""
    clocks = [number(path) for path in _sorted(root / _CPUS, "cpu[0-9]*/cpufreq/scaling_cur_freq")]
    known = [clock for clock in clocks if clock is not None and clock > 0]
    return sum(known) / len(known) / 1000 if known else None


def frequency_governor(root: Path) -> str | None:
    """The rule by which the kernel sets the clock of the first core, such as `performance`."""
    return text(root / _CPUS / "cpu0/cpufreq/scaling_governor") or None


def throttle_events(root: Path) -> int | None:
    """How often heat has slowed a core down since the machine started, the sum of all cores."""
    counts = [number(path) for path in _sorted(root / _CPUS, "cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [count for count in counts if count is not None]
    return int(sum(known)) if known else None


def load_average(root: Path) -> float | None:
    """The number of programs that run or wait for a core, the mean of the last minute."""
    fields = (text(root / "proc/loadavg") or "").split()
    try:
        return float(fields[0])
    except (IndexError, ValueError):
        return None


def cpu_name(root: Path) -> str | None:
    """The name of the board, which most ARM machines have, or else of the CPU."""
    if board := text(root / "proc/device-tree/model"):
        return board
    found = re.search(r"^model name\s*:\s*(.+)$", text(root / "proc/cpuinfo") or "", re.MULTILINE)
    return found[1].strip() if found else None


class OthersLoad:
    """Count the cores that other programs kept busy since the last call."""

    def __init__(self, root: Path) -> None:
        self._stat = root / "proc/stat"
        self._last: tuple[float, float, float] | None = None

    def __call__(self) -> float | None:
        """The number of cores; None at the first call, and where /proc/stat cannot be read."""
        fields = (text(self._stat) or "").split("\n")[0].split()
        if len(fields) < 5 or fields[0] != "cpu" or not all(field.isdigit() for field in fields[1:]):
            self._last = None
            return None
        ticks = [int(field) for field in fields[1:]]
        busy = sum(ticks[:8]) - ticks[3] - sum(ticks[4:5])  # without idle and iowait; user includes the guests
        now = time.monotonic(), busy / os.sysconf("SC_CLK_TCK"), time.process_time()
        last, self._last = self._last, now
        if last is None or now[0] <= last[0]:
            return None
        return max(0.0, (now[1] - last[1] - (now[2] - last[2])) / (now[0] - last[0]))


def _is_cpu(name: str) -> bool:
    return name.split(" ")[0] in _CPU_HWMON or bool(_CPU_ZONE.search(name))


def _celsius(path: Path, milli: set[Path]) -> float | None:
    value = number(path)
    if value is None:
        return None
    if abs(value) >= _MILLI:
        milli.add(path)
    if path in milli:
        return READINGS["temp_c"].plausible(value / _MILLI)
    return value if 0 < value <= _HOTTEST else None


def _energy(cell: Path) -> tuple[float | None, float | None]:
    """The energy left and the energy of the full battery, in Wh."""
    volt = _volt(cell)
    full = _full(cell, "energy")
    if full is None and volt:
        ampere_hours = _full(cell, "charge")
        full = ampere_hours * volt if ampere_hours else None
    if full is not None and full < _LEAST_WH:
        return None, None
    share, left = _share(cell), number(cell / "energy_now")
    if full is None:
        return (left * 1e-6 if left is not None and left * 1e-6 >= _LEAST_WH else None), None
    return (None if share is None else share * full), full


def _full(cell: Path, kind: str) -> float | None:
    """Energy in Wh or charge in Ah of the full battery, by what it was designed for where the driver has no more."""
    return _positive(cell / f"{kind}_full", 1e-6) or _positive(cell / f"{kind}_full_design", 1e-6)


def _share(cell: Path) -> float | None:
    """What is left of full, 0 to 1: a ratio of energies or of charges, which needs no unit, or the percentage.

    An empty battery whose percentage is known is as full as that: drivers give 0 for what they do not know.
    """
    percent = _percent(cell)
    for kind in ("energy", "charge"):
        left, full = number(cell / f"{kind}_now"), _full(cell, kind)
        if left is None or full is None or not 0 <= left * 1e-6 <= OVERFULL * full:
            continue
        if left or not percent:
            return min(1.0, left * 1e-6 / full)
    return percent


def _volt(cell: Path) -> float | None:
    volt = _positive(cell / "voltage_now", 1e-6) or _positive(cell / "voltage_min_design", 1e-6)
    return volt if volt and 0.5 < volt < 1000 else None


def _percent(cell: Path) -> float | None:
    percent = number(cell / "capacity")
    return None if percent is None or not 0 <= percent <= 100 * OVERFULL else min(1.0, percent / 100)


def _power(cell: Path) -> float | None:
    """The power in watts. The sign differs between drivers and has no meaning."""
    micro = number(cell / "power_now")
    if micro is not None:
        power = abs(micro) * 1e-6
    else:
        ampere, volt = number(cell / "current_now"), _volt(cell)
        if ampere is None or volt is None:
            return None
        power = abs(ampere) * 1e-6 * volt
    return READINGS["power_w"].plausible(power) if power == 0 or power >= _LEAST_W else None


def _positive(path: Path, unit: float) -> float | None:
    value = number(path)
    return value * unit if value is not None and value > 0 else None


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _sorted(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
