"""The governor's parameters: each with its unit, its source, and what half and twice of it do.

Everything that could have another value stands here. The other numbers in the governor follow from these, from a
specification, or from the meaning of a figure that it reports. docs/governor-parameters.md shows this table, and what
half and twice of each measured; `python -m tools.sensitivity` makes both.
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
    """All of them, by the part that uses them.

    Example: Governor(profile, fps=15, parameters=Parameters(choice=ChoiceParameters(late_price=7))).
    """

    latency: LatencyParameters = field(default_factory=LatencyParameters)
    choice: ChoiceParameters = field(default_factory=ChoiceParameters)
    thermal: ThermalParameters = field(default_factory=ThermalParameters)
    battery: BatteryParameters = field(default_factory=BatteryParameters)


DEFAULTS = Parameters()


def described(parameters: Parameters) -> dict[str, tuple[Any, Description]]:
    """Name, such as "latency.window" -> value and description, in the order of the files."""
    return {
        f"{group.name}.{entry.name}": (
            getattr(getattr(parameters, group.name), entry.name),
            entry.metadata["description"],
        )
        for group in fields(parameters)
        for entry in fields(getattr(parameters, group.name))
    }
