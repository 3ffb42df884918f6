"""Help that lists names."""

import re

import pytest

from hydrart.resources import bundled
from tests.support.commands import good

LISTED = {
    "run": [("weights", ".safetensors"), ("devices", ".yaml")],
    "classify": [("weights", ".safetensors")],
    "eval": [("weights", ".safetensors")],
    "simulate": [("devices", ".yaml"), ("devices/traces", ".csv"), ("devices/accuracy", ".yaml")],
    "replay": [("devices", ".yaml"), ("devices/accuracy", ".yaml")],
    "info": [("weights", ".safetensors")],
    "bench": [("weights", ".safetensors")],
    "export": [("weights", ".safetensors")],
    "slice": [("weights", ".safetensors")],
}


def words_of_help(command: str) -> set[str]:
    text = re.sub(r"-\n\s*", "-", good(command, "--help").stdout)  # click breaks lines after hyphens
    return set(re.split(r"[\s,\]]+", text))


@pytest.mark.parametrize("command", LISTED)
def test_names_that_ship_are_in_the_help(command: str) -> None:
    for folder, suffix in LISTED[command]:
        names = set(bundled(folder, suffix))
        assert names and names <= words_of_help(command)


@pytest.mark.parametrize("command", ["simulate", "replay"])
def test_policies_are_in_the_help(command: str) -> None:
    names = {"governor", "oracle", "static-oracle", "alert", "alert-tuned", "ipa", "fixed-K", "all"}
    assert names <= words_of_help(command)
