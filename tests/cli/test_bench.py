"""hydrart bench: its options, and what it refuses."""

import importlib.util
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from hydrart.bench.benchmark import BenchReport
from hydrart.bench.report import as_json, as_text, title
from hydrart.device.profiles import load_device
from hydrart.installation import install_command
from tests.support.benching import REPORT, SHAPE, needs
from tests.support.commands import PATIENCE_S, PROGRAM, call, good, sentence, unsealed
from tests.support.json_page import check


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> BenchReport:
    """Nothing is measured: the command gets this report."""
    monkeypatch.setattr("hydrart.bench.benchmark.measure", lambda *args: REPORT)
    return REPORT


def test_it_saves_a_device_profile(measured: BenchReport, tmp_path: Path) -> None:
    good("bench", "--shape", SHAPE, "--save", tmp_path / "device.yaml")
    device = load_device(tmp_path / "device.yaml")
    assert device.name == "device" and device.description == title(measured)
    assert device.latency_ms == {row.k: row.times.p50_ms for row in measured.rows}
    assert [path.name for path in tmp_path.iterdir()] == ["device.yaml"], "nothing else is left"


def test_it_draws(measured: BenchReport, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    good("bench", "--shape", SHAPE, "--plot", tmp_path / "bench.png")
    with Image.open(tmp_path / "bench.png") as image:
        assert image.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["bench.png"], "nothing else is left"


def test_it_draws_over_nothing_that_it_reads(measured: BenchReport, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    (tmp_path / "link.png").symlink_to(weights)
    assert "is the input itself" in sentence("bench", weights, "--plot", tmp_path / "link.png")
    both = tmp_path / "both"
    assert "would be written twice" in sentence("bench", weights, "--plot", both, "--save", both)


def test_it_prints_the_report(measured: BenchReport) -> None:
    assert good("bench", "--shape", SHAPE).stdout == as_text(measured) + "\n"
    report = unsealed(good("bench", "--shape", SHAPE, "--json").stdout)
    check("hydrart bench", [report])
    assert report == json.loads(json.dumps(as_json(measured)))


def test_text_of_a_weight_file(weights: Path) -> None:
    lines = good("bench", weights, "--quick", "--k", "3,5-6", "--batch", 2).stdout.splitlines()
    if lines[0].startswith("other programs"):  # of a busy machine
        del lines[0]
    assert lines[0].startswith("random: fp32, 32x32 pixels, heads 3-12") and lines[0].endswith("batch 2")
    start = next(i for i, line in enumerate(lines) if line.split()[:2] == ["k", "GMACs"])
    assert [line.split()[0] for line in lines[start + 1 : start + 4]] == ["3", "5", "6"]
    assert len({len(line) for line in lines[start : start + 4]}) == 1, "the columns are aligned"
    text = "\n".join(lines)
    for words in ("peak of", "1920x1080", "switch of k", "random switches", "at 15 fps", "before: ", "after: "):
        assert words in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("--shape nonsense", "choose from hydravit-b"),
        ("--shape hydravit-c", "did you mean hydravit-b"),
        ("--shape heads=3,widht=4", "unknown entry 'widht'"),
        ("--shape heads=three", "write a whole number"),
        ("--shape heads=9-3", "no range of heads"),
        ("--shape heads=0", "no range of heads"),
        ("--shape heads=1-1000000000", "no range of heads"),
        ("--shape heads=3,head_dim=48", "head_dim is 48, not one of 16, 32, 64"),
        ("--shape heads=3,image=30", "image_size 30 is no multiple of patch 16"),
        ("--shape hydravit-b,depth=0", "depth is 0"),
        ("--shape hydravit-b --k 13", "choose from 3-12"),
        ("{weights} --k 13", "choose from 3-12"),
        ("{weights} --k 13-20", "choose from 3-12"),
        ("{weights} --merge 9", "merge=9 is more than half of the 17 tokens"),
        ("{weights} --merge 1,1,1", "one for each of the 2 blocks"),
        ("{weights} --precision int8", "stores fp32, not int8"),
        ("{folder}/none.safetensors", "does not exist"),
        ("none", "neither a file nor one of the weights"),
        ("{weights} --against tensorflow", "no comparison with 'tensorflow'"),
        ("{weights} --against torch:int4", "not measured in int4"),
        ("{weights} --save {folder}", "cannot be read"),
        ("{weights} --save {folder}/none/x.yaml", "is no folder"),
        ("{weights} --save {weights}", "is not YAML"),
    ],
)
def test_what_cannot_be_measured(args: str, words: str, weights: Path, tmp_path: Path) -> None:
    if "--against torch" in args:
        needs("torch")
    names = {"weights": weights, "folder": tmp_path}
    assert words in sentence("bench", *(arg.format(**names) for arg in args.split()))


@pytest.mark.parametrize("target", ["{folder}", "{folder}/none/x.png"])
def test_pictures_that_cannot_be_drawn(target: str, tmp_path: Path) -> None:
    said = sentence("bench", "--quick", "--plot", target.format(folder=tmp_path))
    assert ("name a file in a folder" if importlib.util.find_spec("matplotlib") else install_command("bench")) in said


@pytest.mark.parametrize(
    "args",
    [
        "a b",
        "a --shape hydravit-b",
        "--k three",
        "--k 3-",
        "--k -3",
        "--k 6-3",
        "--batch 0",
        "--batch 2 --against torch",
        "--batch 2 --save x.yaml",
        "--merge x",
        "--merge 2 --against torch",
        "--merge 2 --save x.yaml",
        "--rate 0",
        "--rate nan",
        "--repeats 0",
        "--threads 0",
        "--precision fp16",
    ],
)
def test_wrong_usage(args: str) -> None:
    result = call("bench", *args.split())
    assert result.exit_code == 2 and not result.stdout
    assert result.stderr.startswith("Usage: ") and result.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(how: signal.Signals, tmp_path: Path) -> None:
    args = (*PROGRAM, "bench", "--shape", SHAPE)
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(args, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("k=1: first call"):
                break
        assert list(tmp_path.iterdir()), "the random weights"
        process.send_signal(how)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, said
    assert "Traceback" not in said and not list(tmp_path.iterdir())
