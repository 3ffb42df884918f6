"""Device profiles: those that ship, and files that are wrong."""

from pathlib import Path

import pytest

from hydrart.device.profiles import load_device
from hydrart.errors import ProfileError
from hydrart.resources import bundled


@pytest.mark.parametrize("name", bundled("devices", ".yaml"))
def test_profiles_that_ship(name: str) -> None:
    device = load_device(name)
    assert device.name == name and device.description
    assert list(device.latency_ms) == sorted(device.latency_ms)
    assert list(device.latency_ms.values()) == sorted(device.latency_ms.values())


def test_some_profile_ships() -> None:
    assert "generic" in bundled("devices", ".yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("latency: {3: 4}", "did you mean latency_ms"),
        ("latency_ms: {3: -4}", "give a positive number"),
        ("latency_ms: {3: .nan}", "give a positive number"),
        ("latency_ms: {3: .inf}", "give a positive number"),
        ("latency_ms: {three: 4}", "use whole numbers of heads"),
        ("latency_ms: [3, 4]", "must be a mapping"),
        ("power_w: {idle: cold}", "give a positive number"),
        ("power_w: {3: 4000}", "give a positive number in W, 1000 at most"),
        ("power_w: {idle: 2900}", "give a positive number in W, 1000 at most"),
        ("battery: {capacity_wh: 3.7e+7}", "give a positive number in Wh, 1e+06 at most"),
        ("latency_ms: {65: 4}", "use whole numbers of heads"),
        ("latency_ms: {3: 0x" + "f" * 8000 + "}", "is a number far too large: give a positive number"),
        ("latency_ms: {0x" + "f" * 900 + ": 3}", "k=a number far too large"),
        ("0x" + "f" * 900 + ": 3", "unknown entry 'a number far too large'"),
        ("name: [" + "1, " * 400_000 + "]", "is not YAML, it is larger than 1000000 bytes"),
        ("[1, 2]", "is no mapping"),
        ("latency_ms: {3: 5, 3: 6}", "has the entry '3' twice: leave one of them out"),
        ("name: a\nname: b", "has the entry 'name' twice"),
        ("{[1]: 2}", "is not YAML"),
        ("latency_ms: {3: 40, 4: 20}", "latency_ms of 4 is below that of 3"),
        ("power_w: {idle: 5, 3: 4}", "power_w of idle is above"),
        ("jitter: {sigma: -1}", "give a number from 0 to 2"),
        ("jitter: {sigmas: 1}", "did you mean sigma"),
        ("thermal: {stages: []}", "has no ambient_c"),
        ("thermal: {ambient_c: 25}", "stages must be a list"),
        ("thermal: {ambient_c: 25, stages: [4]}", "stage 1 must be a mapping"),
        ("thermal: {ambient_c: 25, stages: [{r_c_per_w: 3}]}", "stage 1 has no tau_s"),
        ("thermal: {ambient_c: 25, stages: [{r_c_per_w: 3, tau: 3}]}", "did you mean tau_s"),
        ("thermal: {ambient_c: 25, stages: [{r_c_per_w: 3, tau_s: .nan}]}", "give a positive number"),
        ("thermal: {ambient_c: 25, stages: [{r_c_per_w: 3, tau_s: 3}], throttle_c: 20}", "not above ambient_c"),
        ("thermal: {ambient_c: 25, stages: [{r_c_per_w: 3, tau_s: 3}], throttle_x: 0.5}", "from 1 to 100"),
        ("battery: {capacity: 3}", "did you mean capacity_wh"),
        ("battery: {capacity_wh: 0}", "give a positive number"),
        ("sensors: {thermal: 3}", "must be a text"),
        ("sensors: {temp: auto}", "choose from thermal, battery"),
        ("{", "is not YAML"),
        ("!!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_profiles_that_are_wrong(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as error:
        load_device(path)
    assert words in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
