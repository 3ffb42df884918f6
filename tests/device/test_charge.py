"""The charge of a battery in what boards and programs say."""

import json
from typing import Any

import pytest

from hydrart.device.charge import Charge, ChargeError
from hydrart.readings import READINGS

UPOWER = """\
  native-path:          BAT0
  battery
    state:               discharging
    energy:              40.3 Wh
    voltage:             11.9 V
    percentage:          87%
    capacity:            92.4%
"""
TERMUX = {"health": "GOOD", "percentage": 87, "plugged": "UNPLUGGED", "temperature": 25.7}


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("87", 0.87),
        ("87%", 0.87),
        ("87,5 %", 0.875),
        ("+87 percent", 0.87),
        ("1", 0.01),
        ("1e2", 1.0),
        ("0.87", 0.87),
        ("Battery: 87 %", 0.87),
        ("Battery at 87 percent", 0.87),
        ("battery 87.5", 0.875),
        ("BAT0=87", 0.87),
        ("State of charge: 87", 0.87),
        ("SoC: 0.87", 0.87),
        (UPOWER, 0.87),
        ("    percentage:          87%", 0.87),
        ("Battery 0: Discharging, 87%, 02:31:12 remaining", 0.87),
        ("Battery 0: Full, 100%", 1.0),
        ("battery.charge: 87\nbattery.voltage: 13.2", 0.87),
        ("BCHARGE  : 087.0 Percent", 0.87),
        ("POWER_SUPPLY_CAPACITY=87", 0.87),
        ('"87%"', 0.87),
        ('{"battery": 87}', 0.87),
        ('{"percentage": 87}', 0.87),
        ('{"soc": 0.87}', 0.87),
        ('{"soc": 87, "volts": 3.9}', 0.87),
        ('{"State of Charge": "87 %"}', 0.87),
        ('{"battery_level": 0}', 0.0),
        (json.dumps(TERMUX), 0.87),
    ],
)
def test_what_programs_print(text: str, share: float) -> None:
    assert Charge().printed(text) == {"battery": pytest.approx(share)}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "in which there is no number"),
        ("full", "in which there is no number"),
        ("nan", "in which there is no number"),
        ("NaN", "which is no number"),
        ("1e400", "which is no number"),
        ("9" * 400, "which is no number"),
        ("true", "which is no number"),
        ("[87]", "which is no number"),
        ("120", "which does not lie between 0 and 100 %"),
        ("-5", "which does not lie between 0 and 100 %"),
        ("Battery: -5 %", "which does not lie between 0 and 100 %"),
        ("3700", "which does not lie between 0 and 100 %"),
        ("87 88", "which does not say which number is the charge"),
        ("87/100", "which does not say which number is the charge"),
        ("87\n88", "in which there are several charges"),
        ("Battery 0: Unknown, 0%\nBattery 1: Discharging, 98%", "in which there are several charges"),
        ("voltage: 3.7 V", "which does not say that it is the charge"),
        ("3.7V", "which does not say that it is the charge"),
        ("{}", "a JSON object without a charge"),
        ('{"volts": 3.9}', "a JSON object without a charge"),
        ('{"soc": 87, "level": 90}', r"a JSON object with several charges \(soc, level\)"),
        ('{"percentage": 0.87}', "in which percentage may be 0.87 % or 87 %"),
        ('{"soc": 1}', "in which soc may be 1 % or 100 %"),
        ('{"soc": true}', "which is no number"),
        ('{"percentage": -87}', "which does not lie between 0 and 100 %"),
    ],
)
def test_what_is_no_charge(text: str, why: str) -> None:
    with pytest.raises(ChargeError, match=f"^{why}: print the charge in percent, such as 87 %, or JSON such as "):
        Charge().printed(text)


def test_a_charge_stays_in_its_unit() -> None:
    charge = Charge()
    assert [charge.share(value) for value in (0.9, 1, 2, 1, 0.5)] == [0.9, 1.0, 0.02, 0.01, 0.005]
    assert [Charge().share(value) for value in ("1%", "0.5 percent", "0.5")] == [0.01, 0.005, 0.5]
    for value in (-1, 111, "x", None, True, [1], float("nan")):
        assert READINGS["battery"].plausible(Charge().share(value)) is None


@pytest.mark.parametrize(("first", "then", "share"), [(0.9, 1, 1.0), (2, 1, 0.01), (2, 0.5, 0.005)])
def test_what_came_before_says_the_unit_of_another_program_s_json(first: Any, then: Any, share: float) -> None:
    charge = Charge()
    charge.printed(json.dumps({"soc": first}))
    assert charge.printed(json.dumps({"soc": then})) == {"battery": share}


def test_readings_of_hydrart_s_own_names_keep_them_all() -> None:
    said = {"battery": "87 %", "power_w": 3.5, "percentage": 3}
    assert Charge().printed(json.dumps(said)) == said | {"battery": 0.87}, "a name of no reading is refused later"
    assert Charge().of({"power_w": 3.5}) == {"power_w": 3.5}
    with pytest.raises(TypeError, match="it returned a value of type int: return readings by name"):
        Charge().of(3)  # type: ignore[arg-type]
