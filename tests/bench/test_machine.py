"""What the report says of the machine."""

import platform
from pathlib import Path

from hydrart.bench import machine


def test_the_state_is_read_from_sysfs(tmp_path: Path) -> None:
    assert machine.state(tmp_path) == machine.MachineState(None, None, None, None, None, None)
    for path, text in {
        "sys/class/thermal/thermal_zone0/temp": "41500",
        "sys/class/thermal/thermal_zone1/temp": "-274000",  # a sensor that is off
        "sys/class/hwmon/hwmon3/temp1_input": "62250",
        "sys/class/hwmon/hwmon3/temp2_input": "",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1700000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
        "proc/loadavg": "0.25 0.10 0.05 1/100 1234",
        "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n" * (not text.endswith("\0")))
    assert machine.state(tmp_path) == machine.MachineState(62.25, 7, True, 1600.0, "ondemand", 0.25)
    (tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled").write_text("50001\n")
    assert machine.state(tmp_path).throttled is False, "undervoltage, and heat that is over"
    assert machine.machine(tmp_path).cpu == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine.machine().cpu and machine.machine().cores >= 1


def test_a_cpu_s_name_is_that_of_cpuinfo(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 7\nflags\t: fpu\n")
    assert machine.machine(tmp_path).cpu == "AMD EPYC 7"
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\n")
    assert machine.machine(tmp_path).cpu == platform.machine()
