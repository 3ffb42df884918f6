"""The machine that measures, and what it says of its heat. Whatever cannot be read is None."""

import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import numba
import numpy as np

import hydrart
from hydrart.codegen import isa

_ROOT = Path("/")
_THROTTLED_NOW = 0b1110  # of the Raspberry Pi's flags: frequency capped, throttled, soft temperature limit


@dataclass(frozen=True)
class Machine:
    """What does not change: the CPU's name, cores that this process may use, the kernels' instruction set, versions."""

    cpu: str
    cores: int
    isa: str
    system: str
    python: str
    numpy: str
    numba: str
    llvmlite: str
    hydrart: str


@dataclass(frozen=True)
class State:
    """What does.

    temp_c: the hottest sensor; throttle_events: how often the CPU slowed down for its heat since it was started, by
    its own count; throttled: whether it does so now; frequency_mhz: the mean of all cores; governor: of the
    frequency; load: runnable programs on the whole machine, the last minute's mean.
    """

    temp_c: float | None
    throttle_events: int | None
    throttled: bool | None
    frequency_mhz: float | None
    governor: str | None
    load: float | None


def machine(root: Path = _ROOT) -> Machine:
    """This one. Raises SettingError where the kernels have no instruction set."""
    return Machine(
        cpu=_cpu(root),
        cores=len(os.sched_getaffinity(0)),
        isa=isa.choose().name,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        numpy=np.__version__,
        numba=numba.__version__,
        llvmlite=llvmlite.__version__,
        hydrart=hydrart.__version__,
    )


def state(root: Path = _ROOT) -> State:
    """Read it now; root: where /sys and /proc lie."""
    cpus = root / "sys/devices/system/cpu"
    temperatures = [value / 1000 for value in _temperatures(root) if -50_000 < value < 200_000]
    events = list(_numbers(cpus, "cpu*/thermal_throttle/core_throttle_count"))
    frequencies = list(_numbers(cpus, "cpu*/cpufreq/scaling_cur_freq"))
    flags = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    load = _text(root / "proc/loadavg").split()
    return State(
        temp_c=max(temperatures, default=None),
        throttle_events=int(sum(events)) if events else None,
        throttled=bool(int(flags, 16) & _THROTTLED_NOW) if re.fullmatch("(0x)?[0-9a-fA-F]+", flags) else None,
        frequency_mhz=sum(frequencies) / len(frequencies) / 1000 if frequencies else None,
        governor=_text(cpus / "cpu0/cpufreq/scaling_governor") or None,
        load=float(load[0]) if load else None,
    )


def _temperatures(root: Path) -> Iterator[float]:
    yield from _numbers(root / "sys/class/thermal", "thermal_zone*/temp")
    yield from _numbers(root / "sys/class/hwmon", "hwmon*/temp*_input")


def _cpu(root: Path) -> str:
    if board := _text(root / "proc/device-tree/model").rstrip("\0"):  # of ARM boards, whose cpuinfo has no name
        return board
    found = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _numbers(folder: Path, pattern: str) -> Iterator[float]:
    for path in sorted(folder.glob(pattern)):
        try:
            yield float(_text(path))
        except ValueError:
            continue


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
