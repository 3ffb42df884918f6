"""`hydrart simulate`: its table, its JSON lines, its plot, and what is wrong with its options."""

from pathlib import Path

import pytest

from tests.support.commands import call, good, json_lines, sentence
from tests.support.worlds import KEYS


def test_what_a_profile_does_not_tell_is_not_known(tmp_path: Path) -> None:
    profile = tmp_path / "plain.yaml"
    profile.write_text("name: plain\ndescription: x\nlatency_ms: {3: 2.0, 12: 18.0}\n")
    arguments = ("simulate", "--device", profile, "--trace", "quiet", "--fps", 60, "--duration", 20)
    assert "J" not in good(*arguments).stdout
    (line,) = json_lines(good(*arguments, "--json").stdout)
    assert line["energy_j"] is None and line["throttled_s"] is None and line["over_target_c_s"] is None


def test_simulate_prints_a_line_for_each_policy(tmp_path: Path) -> None:
    args = ("--device", "raspberrypi5", "--trace", "bursts", "--duration", 20, "--accuracy", "hydravit-b")
    lines = json_lines(good("simulate", *args, "--policy", "all", "--json").stdout)
    assert [line["policy"] for line in lines][:3] == ["governor", "oracle", "static-oracle"]
    assert lines[-1]["policy"] == "fixed-12" and all(list(line) == KEYS.split() for line in lines)
    shown = good("simulate", *args).stdout.splitlines()
    assert shown[0].startswith("policy ") and shown[1].startswith("governor ") and len(shown) == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--device raspberrypi5 --trace nowhere", "choose from"),
        ("--device raspberypi5 --trace quiet", "did you mean raspberrypi5"),
        ("--device raspberrypi5 --trace quiet --policy governer", "did you mean governor"),
        ("--device raspberrypi5 --trace quiet --max-temp 20", "not above the ambient"),
    ],
)
def test_simulate_what_is_not_there(args: str, words: str) -> None:
    assert words in sentence("simulate", *args.split(), "--duration", "1")


@pytest.mark.parametrize(
    "option", ["--fps 0", "--duration -1", "--charge 2", "--until 0", "--max-temp nan", "--seed x"]
)
def test_simulate_wrong_usage(option: str) -> None:
    assert call("simulate", "--device", "generic", "--trace", "quiet", *option.split()).exit_code == 2


def test_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    args = ("simulate", "--device", "raspberrypi5", "--trace", "sun", "--duration", 10, "--plot")
    good(*args, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "name a file in a folder that exists" in sentence(*args, tmp_path / "nowhere/x.png")


def test_the_plot_is_none_of_the_inputs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    profile, trace, accuracy = tmp_path / "board.yaml", tmp_path / "trace.csv", tmp_path / "accuracy.yaml"
    profile.write_text("latency_ms: {3: 1, 12: 2}\n")
    trace.write_text("t_s\n0\n")
    accuracy.write_text("{3: 0.5, 12: 0.9}\n")
    log = tmp_path / "run.jsonl"
    log.write_text("")
    link = tmp_path / "link.png"
    for source in (profile, trace, accuracy, log):
        link.unlink(missing_ok=True)
        link.hardlink_to(source)
        args = ("simulate", "--trace", trace) if source != log else ("replay", log)
        said = sentence(*args, "--device", profile, "--accuracy", accuracy, "--plot", link)
        assert "is the input itself" in said


def test_simulations_without_end(tmp_path: Path) -> None:
    args = ("simulate", "--device", "generic", "--accuracy", "hydravit-b")
    said = sentence(*args, "--trace", "quiet", "--duration", 1e6, "--fps", 1000)
    assert "are too much to simulate: stay below 10,000,000 frames" in said
    assert "is no CSV" in sentence(*args, "--trace", "/dev/zero")
    assert "is not YAML, it is larger than 1000000 bytes" in sentence(
        *args, "--trace", "quiet", "--accuracy", "/dev/zero"
    )
