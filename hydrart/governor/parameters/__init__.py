"""The governor's parameters: each with its unit, its source, and the effects of half and twice its value.

Every number of the governor that could have another value is here. Its other numbers follow from these, from a
specification, or from the meaning of a figure that it reports. docs/governor-parameters.md shows the table and the
measured effects of half and twice each value. `python -m tools.sensitivity` makes that page.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from hydrart.governor.parameters.battery import BatteryParameters
from hydrart.governor.parameters.choice import ChoiceParameters
from hydrart.governor.parameters.description import Description
from hydrart.governor.parameters.latency import LatencyParameters
from hydrart.governor.parameters.thermal import ThermalParameters

__all__ = [
    "DEFAULTS",
    "BatteryParameters",
    "ChoiceParameters",
    "Description",
    "LatencyParameters",
    "Parameters",
    "ThermalParameters",
    "described",
]


@dataclass(frozen=True)
class Parameters:
    """All parameters, grouped by the part of the governor that uses them.

    Example: Governor(profile, fps=15, parameters=Parameters(choice=ChoiceParameters(late_price=7))).
    """

    latency: LatencyParameters = field(default_factory=LatencyParameters)
    choice: ChoiceParameters = field(default_factory=ChoiceParameters)
    thermal: ThermalParameters = field(default_factory=ThermalParameters)
    battery: BatteryParameters = field(default_factory=BatteryParameters)


DEFAULTS = Parameters()


def described(parameters: Parameters) -> dict[str, tuple[Any, Description]]:
    """Name, such as "latency.window" -> value and description, in the order of the fields."""
    return {
        f"{group.name}.{entry.name}": (
            getattr(getattr(parameters, group.name), entry.name),
            entry.metadata["description"],
        )
        for group in fields(parameters)
        for entry in fields(getattr(parameters, group.name))
    }
