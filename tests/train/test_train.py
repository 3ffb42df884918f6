"""The command line of the training tool, on a made-up data set of red and blue pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support import commands
from tests.support.colours import SMALL, make_colours
from tests.support.commands import call, good, json_lines
from tests.support.json_page import check

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

import hydrart  # noqa: E402
from hydrart.format.metadata import Metadata  # noqa: E402
from hydrart.format.reader import WeightFile  # noqa: E402

KS = tuple(range(3, 13))


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file, its checkpoint beside it, of a network that tells red from blue."""
    output = tmp_path_factory.mktemp("trained") / "colours.safetensors"
    meta_of("--data", data, "-o", output, "--epochs", 12, "--dataset", "colours", "--licence", "MIT", *SMALL)
    return output


def meta_of(*arguments: Any) -> Metadata:
    """Train; what the written file says."""
    check("hydrart train", json_lines(good("train", *arguments, "--json").stdout))
    return WeightFile(arguments[arguments.index("-o") + 1]).meta


def sentence(*arguments: Any) -> str:
    """The one sentence that a training fails with."""
    return commands.sentence("train", *arguments)


def test_a_run_ends_with_a_weight_file_that_knows_its_accuracy(data: Path, trained: Path) -> None:
    model, meta = hydrart.load(trained), WeightFile(trained).meta
    assert model.heads == KS and model.labels == ("blue", "red")
    assert meta.licence == "MIT" and meta.source == "colours.pth" and len(meta.source_sha256) == 64
    assert meta.accuracy is not None
    assert (meta.accuracy.dataset, meta.accuracy.pictures) == ("colours", 32)
    assert meta.accuracy.top1[12] > 0.9, "red and blue can be told apart"
    for k in (3, 12):
        right = sum(model(path, k).label == path.parent.name for path in (data / "test").glob("*/*.png"))
        assert right / 32 == meta.accuracy.top1[k]


def test_pictures_are_normalised_by_their_own_mean(data: Path, trained: Path) -> None:
    spec = WeightFile(trained).meta.preprocessing
    assert spec.crop == 1.0
    assert spec.mean == pytest.approx((115 / 255, 40 / 255, 115 / 255), abs=0.02)
    assert spec.std[1] < 0.1 < spec.std[0]


def test_the_file_tells_how_it_was_trained(trained: Path) -> None:
    (run,) = WeightFile(trained).meta.history
    assert run["pictures"] == 32 and run["epochs"] == 12 and run["seed"] == 0 and run["optimizer"] == "muon"


def test_the_checkpoint_converts_to_the_same_network(data: Path, trained: Path, tmp_path: Path) -> None:
    good("convert", trained.with_suffix(".pth"), "-o", tmp_path / "again.safetensors")
    a, b = WeightFile(trained), WeightFile(tmp_path / "again.safetensors")
    assert (a.meta.architecture, a.meta.preprocessing, a.meta.labels) == (
        b.meta.architecture,
        b.meta.preprocessing,
        b.meta.labels,
    )
    assert np.array_equal(a.data, b.data)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--heads", "3,6,12", "--weights", "1,1,2"), {"heads": (3, 6, 12)}),
        (("--heads", "2-4"), {"heads": (2, 3, 4)}),
        (("--networks", "3"), {}),
        (("--separate-classifiers", "--heads", "3,4"), {"heads": (3, 4), "separate_classifiers": True}),
        (("--baseline", "4"), {"heads": (4,)}),
        (("--head-dim", "32", "--heads", "3,4"), {"heads": (3, 4), "head_dim": 32}),
        (("--depth", "2"), {"depth": 2}),
        (("--patch", "4"), {"patch": 4}),
        (("--image-size", "24"), {"image_size": 24}),
        (("--optimizer", "adamw"), {}),
        (("--augment", "strong"), {}),
        (("--mixup", "0.4"), {}),
        (("--ema", "0"), {}),
        (("--precision", "bf16"), {}),
        (("--threads", "2"), {}),
        (("--device", "cpu", "--label-smoothing", "0"), {}),
        (("--epochs", "1", "--warmup", "0"), {}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_every_option(data: Path, tmp_path: Path, options: tuple[str, ...], expected: dict[str, Any]) -> None:
    meta = meta_of("--data", data, "-o", tmp_path / "x.safetensors", "--epochs", 2, *SMALL, *options)
    usual = {"heads": KS, "head_dim": 16, "depth": 1, "patch": 8, "image_size": 16, "separate_classifiers": False}
    assert {name: getattr(meta.architecture, name) for name in usual} == usual | expected
    assert meta.accuracy is not None and tuple(meta.accuracy.top1) == meta.architecture.heads


def test_a_run_may_be_given_hours(data: Path, tmp_path: Path) -> None:
    meta = meta_of("--data", data, "-o", tmp_path / "x.safetensors", "--hours", 1 / 3600, *SMALL)
    assert int(meta.history[0]["steps"]) >= 1


def test_training_goes_on_from_a_weight_file(data: Path, trained: Path, tmp_path: Path) -> None:
    meta = meta_of(
        "--data", data, "-o", tmp_path / "x.safetensors", "--init", trained, "--epochs", 1, "--lr", 1e-6,
        "--batch", 8, "--threads", 1,
    )  # fmt: skip
    old, new = WeightFile(trained), WeightFile(tmp_path / "x.safetensors")
    assert meta.preprocessing == old.meta.preprocessing and meta.architecture == old.meta.architecture
    for name, value in old.state(12).items():
        np.testing.assert_allclose(new.state(12)[name], value, atol=1e-4, err_msg=name)
    first, second = meta.history
    assert first == old.meta.history[0]
    assert second["init"] == trained.name and len(str(second["init_sha256"])) == 64


def test_a_checkpoint_is_fine_tuned_on_other_classes_and_sizes(trained: Path, tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in "abc":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (30, 20), (40 * i, 9, ord(name))).save(tmp_path / part / name / f"{i}.png")
    result = good(
        "train", "--data", tmp_path, "-o", tmp_path / "x.safetensors", "--init", trained.with_suffix(".pth"),
        "--epochs", 2, "--batch", 4, "--heads", "3,6", "--image-size", 24, "--separate-classifiers", "--threads", 1,
    )  # fmt: skip
    assert "classifier starts anew" in result.stderr and "interpolated" in result.stderr
    arch = WeightFile(tmp_path / "x.safetensors").meta.architecture
    assert (arch.heads, arch.classes, arch.image_size, arch.separate_classifiers) == ((3, 6), 3, 24, True)


def test_a_teacher(data: Path, trained: Path, tmp_path: Path) -> None:
    meta = meta_of(
        "--data", data, "-o", tmp_path / "x.safetensors", "--teacher", trained, "--distill", 1, "--epochs", 12,
        "--heads", "3,4", *SMALL, "--image-size", 32,
    )  # fmt: skip
    assert meta.accuracy is not None and meta.accuracy.top1[4] > 0.9, "it learns from its teacher alone"
    assert meta.history[0]["teacher"] == trained.name


@pytest.mark.parametrize("problem", ["one class", "empty class", "broken", "different", "missing", "batch"])
def test_data_that_cannot_be_trained_on(problem: str, tmp_path: Path) -> None:
    classes = {"one class": ["a"]}.get(problem, ["a", "b"])
    for part in ("train", "test"):
        for name in classes:
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            if problem == "empty class" and name == "b":
                continue
            if problem == "broken" and name == "b":
                (folder / "x.png").write_bytes(b"nothing")
                (folder / "y.jpg").write_bytes(b"\xff\xd8\xff")
            else:
                Image.new("RGB", (16, 16)).save(folder / "x.png")
    if problem == "different":
        (tmp_path / "test" / "b").rename(tmp_path / "test" / "c")
    root = tmp_path / "nowhere" if problem == "missing" else tmp_path
    words = {
        "one class": "at least two",
        "empty class": "b holds no readable picture",
        "broken": "b holds no readable picture",
        "different": "hold different classes",
        "missing": "is no folder",
        "batch": "give a smaller --batch",
    }[problem]
    assert words in sentence("--data", root, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL)
    assert not (tmp_path / "x.safetensors").exists()


def test_single_unreadable_pictures_are_named_and_left_out(tmp_path: Path) -> None:
    make_colours(tmp_path, 8)
    (tmp_path / "train" / "red" / "broken.jpg").write_bytes(b"nothing")
    result = good("train", "--data", tmp_path, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL)
    assert "skipped: " in result.stderr and "broken.jpg" in result.stderr
    assert WeightFile(tmp_path / "x.safetensors").meta.history[0]["pictures"] == 16


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--image-size", "20"), "no multiple of patch"),
        (("--heads", "3,6", "--weights", "1,2,3"), "--weights names 3 numbers for 2 ks"),
        (("--networks", "11"), "--networks 11 is more than a step can train"),
        (("--networks", "2", "--baseline", "6"), "--networks 2 is more than a step can train"),
        (("--networks", "4", "--heads", "3-6", "--weights", "1,1,0,1"), "1 that may be drawn"),
        (("--init", "nothing.pth"), "nothing.pth does not exist"),
        (("--teacher", "nothing.pth"), "nothing.pth does not exist"),
        (("--init", "TRAINED", "--depth", "2"), "leave that flag out"),
        (("--init", "TRAINED", "--heads", "3-13"), "change --heads"),
        pytest.param(
            ("--device", "cuda"),
            "finds no CUDA GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)
def test_wishes_that_cannot_be_granted(
    data: Path, trained: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    given = [str(trained) if option == "TRAINED" else option for option in options]
    assert words in sentence("--data", data, "-o", tmp_path / "x.safetensors", "--epochs", 1, *SMALL, *given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        ("--epochs", "1", "--hours", "1"),
        ("--baseline", "3", "--heads", "3-6"),
        ("--weights", "1,-1"),
        ("--weights", "nan"),
        ("--weights", "0,0"),
        ("--heads", "9-3"),
        ("-o", "x.pth"),
    ],
)
def test_wrong_usage(data: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert call("train", "--data", data, "-o", tmp_path / "x.safetensors", *options).exit_code == 2


def test_a_teacher_of_other_classes_is_refused(data: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "weights" / "hydravit-cifar10.safetensors"
    arguments = ("--data", data, "-o", tmp_path / "x.safetensors", "--teacher", shipped, *SMALL)
    assert "a teacher must know the same" in sentence(*arguments)
