"""The machine that measures, and its state before and after. None stands for what the machine does not report."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import numba
import numpy as np

import hydrart
from hydrart.codegen import isa
from hydrart.device import linux

_ROOT = Path("/")


@dataclass(frozen=True)
class Machine:
    """What does not change while the machine runs.

    cpu: name of the CPU or board; cores: CPU cores that this process may use; isa: instruction set of the kernels;
    system: operating system, its release, and the architecture; the rest: versions.
    """

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
class MachineState:
    """What changes.

    temp_c: of the CPU, in degrees Celsius; throttle_events: times that the CPU slowed down for its heat since
    the start; throttled: whether it is slowed down now; frequency_mhz: mean over the cores; governor: the kernel's
    policy for the clock; load: runnable programs on the whole machine, mean of the last minute.
    """

    temp_c: float | None
    throttle_events: int | None
    throttled: bool | None
    frequency_mhz: float | None
    governor: str | None
    load: float | None


def machine(root: Path = _ROOT) -> Machine:
    """Describe this machine.

    root: the folder that holds /proc. Raises SettingError on a CPU that the kernels do not run on.
    """
    return Machine(
        cpu=linux.cpu_name(root) or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        isa=isa.choose().name,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        numpy=np.__version__,
        numba=numba.__version__,
        llvmlite=llvmlite.__version__,
        hydrart=hydrart.__version__,
    )


def state(root: Path = _ROOT) -> MachineState:
    """Read the sensors once. root: the folder that holds /sys and /proc."""
    return MachineState(
        temp_c=linux.Thermometer(root)(),
        throttle_events=linux.throttle_events(root),
        throttled=linux.throttled(root),
        frequency_mhz=linux.frequency_mhz(root),
        governor=linux.frequency_governor(root),
        load=linux.load_average(root),
    )
