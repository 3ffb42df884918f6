"""hydrart bench: what it reports, and the parts that measure."""

import importlib.util
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hydrart
from hydrart.bench import peak, shapes
from hydrart.device.profiles import load_device
from hydrart.errors import HeadsError
from hydrart.format.architecture import Architecture
from hydrart.format.layout import PRECISIONS
from hydrart.format.reader import WeightFile
from tests.support.benching import ARCH, SHAPE, available, needs
from tests.support.commands import PATIENCE_S, PROGRAM, Json, call, good, json_lines, sentence

TIMES = "p50_ms p95_ms min_ms calls"
FIELDS = {
    "": """model precision executed image_size heads threads batch machine before after peak peak_after rows switching
        empty_growth idle preprocessing seconds""",
    "machine": "cpu cores isa system python numpy numba llvmlite hydrart",
    "before": "temp_c throttle_events throttled frequency_mhz governor load",
    "after": "temp_c throttle_events throttled frequency_mhz governor load",
    "peak": "gops dot isa threads",
    "peak_after": "gops dot isa threads",
    "switching": "switches first_p50 first_p95 by_k",
    "empty_growth": "switches growth_kb",
    "idle": "k rate_fps reached_fps cpu_percent waiting_percent",
}
ROW = """k parameters gmacs gmacs_executed weights_mb top1 times pictures_per_s gops share_of_peak first_call switch
    speedup peers"""
FIRST_CALL = "kernels_ms load_ms first_ms memory_mb mapped_mb"
PEER = """name version precision plain executed threads prepare_ms agrees error correlation ratio times"""


# the command


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> tuple[Json, Path, str]:
    """One quick run: its report, the folder with what it wrote, and what it told people."""
    folder = tmp_path_factory.mktemp("bench")
    args: list[object] = ["--shape", SHAPE, "--quick", "--json", "--rate", 50, "--repeats", 2]
    args += ["--save", folder / "device.yaml"]
    for name in available()[:1]:
        args += ["--against", name, "--against", f"{name}:fp32:plain"]
    if importlib.util.find_spec("matplotlib"):
        args += ["--plot", folder / "bench.png"]
    shown = good("bench", *args)
    (report,) = json_lines(shown.stdout)
    return report, folder, shown.stderr


def test_every_field_of_the_report(bench: tuple[Json, Path, str]) -> None:
    report, _, told = bench
    for name, fields in FIELDS.items():
        assert list(report[name] if name else report) == fields.split(), name
    assert [frame["frame"] for frame in report["preprocessing"]] == ["480p", "720p", "1080p"]
    assert [frame["width"] for frame in report["preprocessing"]] == [640, 1280, 1920]
    assert [frame["height"] for frame in report["preprocessing"]] == [480, 720, 1080]
    rows = report["rows"]
    assert [row["k"] for row in rows] == [1, 3], "--quick: the fewest and the most heads"
    for row in rows:
        assert list(row) == ROW.split() and list(row["first_call"]) == FIRST_CALL.split()
        for peer in row["peers"]:
            assert list(peer) == PEER.split()
    for times in [*(row["times"] for row in rows), *(frame["times"] for frame in report["preprocessing"])]:
        assert list(times) == TIMES.split()
        assert 0 < times["min_ms"] <= times["p50_ms"] <= times["p95_ms"] and times["calls"] >= 2
    for stage in ("random weights", "peak of the machine", "k=1: first call and memory", "switches", "k=3: timing"):
        assert stage in told.splitlines()


def test_the_figures_of_the_report(bench: tuple[Json, Path, str]) -> None:
    report, _, _ = bench
    assert report["model"] == f"{SHAPE}, random weights" and report["heads"] == [1, 2, 3]
    assert (report["precision"], report["executed"], report["image_size"], report["batch"]) == ("fp32", "fp32", 16, 1)
    assert report["threads"] >= 1 and report["seconds"] > 0 and report["machine"]["hydrart"] == hydrart.__version__
    assert report["peak"]["gops"] > 0 and report["peak"]["threads"] == report["threads"]
    for row in report["rows"]:
        k = row["k"]
        assert row["parameters"] == ARCH.parameters(k) and row["gmacs"] == ARCH.macs(k) / 1e9
        assert row["gmacs_executed"] == peak.needed_macs(ARCH, k) / 1e9 < row["gmacs"]
        assert row["pictures_per_s"] == pytest.approx(1e3 / row["times"]["p50_ms"])
        assert row["gops"] == pytest.approx(2 * row["gmacs_executed"] * row["pictures_per_s"])
        assert row["share_of_peak"] == pytest.approx(row["gops"] / report["peak"]["gops"])
        assert row["top1"] is None and row["switch"] == report["switching"]["by_k"][str(k)]
        assert all(value is None or value >= 0 for value in row["first_call"].values())
        assert row["speedup"] is None if report["threads"] == 1 else row["speedup"] > 0
    assert report["rows"][0]["weights_mb"] < report["rows"][1]["weights_mb"]
    assert report["switching"]["switches"] >= 6 and report["empty_growth"]["switches"] > 0
    assert report["idle"]["k"] in (1, 3) and report["idle"]["rate_fps"] == 50


def test_a_peer_of_the_report_agrees(bench: tuple[Json, Path, str]) -> None:
    report, _, _ = bench
    if not available():
        pytest.skip("no other runtime is installed (extra: bench)")
    for row in report["rows"]:
        assert [peer["plain"] for peer in row["peers"]] == [False, True]
        for peer in row["peers"]:
            assert peer["name"] == available()[0] and peer["executed"] == "fp32" and peer["agrees"] is True
            assert peer["error"] < 1e-3 and peer["ratio"] > 0 and list(peer["times"]) == TIMES.split()


def test_it_saves_a_device_profile(bench: tuple[Json, Path, str]) -> None:
    report, folder, _ = bench
    device = load_device(folder / "device.yaml")
    assert device.name == "device" and SHAPE in device.description
    assert device.latency_ms == pytest.approx({row["k"]: row["times"]["p50_ms"] for row in report["rows"]}, rel=1e-3)


def test_it_draws(bench: tuple[Json, Path, str]) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed (extra: bench)")
    with Image.open(bench[1] / "bench.png") as image:
        assert image.format == "PNG" and image.width > 500 and len(np.unique(np.asarray(image))) > 10
    assert {path.suffix for path in bench[1].iterdir()} == {".png", ".yaml"}, "nothing else is left"


def test_text_of_a_weight_file(weights: Path) -> None:
    lines = good("bench", weights, "--quick", "--k", "3,5-6", "--batch", 2).stdout.splitlines()
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
    assert ("name a file in a folder" if importlib.util.find_spec("matplotlib") else "hydrart[bench]") in said


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


# shapes


@pytest.mark.parametrize(
    ("text", "heads", "changed"),
    [
        ("hydravit-b", tuple(range(3, 13)), {}),
        ("deit-tiny", (3,), {}),
        ("deit-base,depth=2,image=384", (12,), {"depth": 2, "image_size": 384}),
        ("heads=5,head_dim=32", (5,), {"head_dim": 32}),
        ("hydravit-b,heads=1+4-6", (1, 4, 5, 6), {}),
        ("patch=8,classes=10", tuple(range(3, 13)), {"patch": 8, "classes": 10}),
    ],
)
def test_shapes(text: str, heads: tuple[int, ...], changed: dict[str, Any]) -> None:
    assert shapes.parse_shape(text) == replace(shapes.HYDRAVIT_B, heads=heads, **changed)


def test_hydravit_b_is_the_paper_s() -> None:
    arch = shapes.parse_shape("hydravit-b")
    assert (arch.tokens, arch.width(12), arch.depth, arch.classes) == (197, 768, 12, 1000)
    assert arch.parameters(12) == 86_567_656, "timm's vit_base_patch16_224"
    assert arch.parameters(3) == 5_717_416, "timm's vit_tiny_patch16_224"


def test_ranges_take_the_trained_ks() -> None:
    arch = replace(ARCH, heads=(3, 6, 12))
    assert shapes.choose_heads([(3, 12)], arch) == (3, 6, 12)
    assert shapes.choose_heads([(12, 12), (4, 7)], arch) == (6, 12)
    for wrong in ((4, 4), (7, 11)):
        with pytest.raises(HeadsError, match="3, 6, 12"):
            shapes.choose_heads([wrong], arch)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("arch", [ARCH, replace(ARCH, layer_scale=True, separate_classifiers=True)])
def test_random_weights(arch: Architecture, precision: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), np.float32)
    with shapes.random_weights(arch, precision) as path:
        WeightFile(path).verify()
        model = hydrart.load(path, threads=1)
        assert model.architecture == arch and model.precision == precision
        answers = [model.logits(x, k) for k in arch.heads]
        assert all(np.isfinite(y).all() and 0.01 < y.std() < 10 for y in answers)
    assert not path.exists() and not path.parent.exists()
