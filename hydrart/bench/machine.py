"""Describe the machine that measures, and its state. None stands for a value that the machine does not report."""

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
    """The constant facts of a machine.

    - cpu: name of the CPU or board.
    - cores: number of CPU cores that this process may use.
    - isa: instruction set of the kernels.
    - system: operating system, its release, and the architecture.

    All other fields are versions.
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
    """The state of a machine.

    - temp_c: temperature of the CPU, in degrees Celsius.
    - throttle_events: how often heat slowed the CPU down since the machine started.
    - throttled: whether heat slows it down now.
    - frequency_mhz: clock, the mean over the cores.
    - governor: the kernel's policy for the clock.
    - load: number of runnable programs on the whole machine, the mean of the last minute.
    """

    temp_c: float | None
    throttle_events: int | None
    throttled: bool | None
    frequency_mhz: float | None
    governor: str | None
    load: float | None


def machine(root: Path = _ROOT) -> Machine:
    """Describe this machine.

    root: the folder that holds proc. Raises SettingError on a CPU for which there are no kernels.
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
    """Read the sensors once. root: the folder that holds sys and proc."""
    return MachineState(
        temp_c=linux.Thermometer(root)(),
        throttle_events=linux.throttle_events(root),
        throttled=linux.throttled(root),
        frequency_mhz=linux.frequency_mhz(root),
        governor=linux.frequency_governor(root),
        load=linux.load_average(root),
    )
