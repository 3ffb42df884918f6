"""governor/parameters/description.py: a field that carries its description. test_parameters.py reads all of them."""

from dataclasses import dataclass, fields

from hydrart.governor.parameters.description import Description, parameter


@dataclass(frozen=True)
class Group:
    window: int = parameter(64, "frames", "Meaning.", "chosen", "Half.", "Twice.")


def test_a_field_has_its_default_and_its_description() -> None:
    (entry,) = fields(Group)
    assert Group().window == 64 and Group(window=3).window == 3
    assert entry.metadata["description"] == Description("frames", "Meaning.", "chosen", "Half.", "Twice.")
