"""`hydrart convert`: what it reports, where it writes, what it does without PyTorch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import save_file

from hydrart.format.reader import WeightFile
from hydrart.installation import install_command
from tests.support.commands import unsealed
from tests.support.converting import (
    CLASSES,
    KS,
    NAME,
    PATCH,
    SIZE,
    assert_same,
    converted,
    failure,
    nested,
    run,
    sentence,
    timm_checkpoint,
    torch,
)
from tests.support.json_page import check
from tests.support.torch_looks import random_thinking
from tests.support.torch_vit import random_state


def test_an_interrupted_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hydrart.convert.parity.reference_logits", interrupt)
    torch.save({"arch": NAME, "state_dict": nested()}, tmp_path / "a.pth")
    assert run(tmp_path / "a.pth", "-o", tmp_path / "out.safetensors").exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "hydra.safetensors"
    save_file(nested(), path)
    content = path.read_bytes()
    assert "input itself" in sentence(run(path, "-o", path))
    (tmp_path / "link.safetensors").hardlink_to(path)
    assert "input itself" in sentence(run(path, "-o", tmp_path / "link.safetensors"))
    assert path.read_bytes() == content
    labels = tmp_path / "labels.safetensors"
    labels.write_text("cat\ndog\n")
    assert "input itself" in sentence(run(path, "-o", labels, "--labels", labels))
    (tmp_path / "folder.safetensors").mkdir()
    assert "folder" in sentence(run(path, "-o", tmp_path / "folder.safetensors"))
    assert "No such file" in sentence(run(path, "-o", tmp_path / "missing" / "out.safetensors"))
    assert "too long" in sentence(run(path, "-o", tmp_path / f"{'x' * 300}.safetensors"))
    assert run(path, "-o", tmp_path / "out.pth").exit_code == 2
    assert run(path).exit_code == 2
    assert run(path, "-o", tmp_path / "out.safetensors", "--precision", "fp8").exit_code == 2


def test_labels(tmp_path: Path) -> None:
    torch.save({"arch": NAME, "state_dict": nested()}, tmp_path / "a.pth")
    labels = tmp_path / "labels"
    names = tuple(f"Tier {i} ä" for i in range(CLASSES))
    for text in ("\ufeff" + "\r\n".join(names) + "\r\n\n", json.dumps(names)):
        labels.write_text(text, "utf-8")
        assert converted(tmp_path / "a.pth", "--labels", labels).meta.labels == names
    assert converted(tmp_path / "a.pth").meta.labels == ()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"one\ntwo\n", "2 labels"),
        (b"", "no labels"),
        (b"[]", "no labels"),
        (b"\xff\xd8\xff\xe0 a picture", "UTF-8"),
        (b"1\n2\n\n4\n5\n6\n7\n", "label 3"),
        (b'["a", 2]', "JSON"),
        (b'["a", ', "JSON"),
        (b'["a", "b\\u001b[2J"]', "label 2"),
        (None, "No such file"),
    ],
)
def test_bad_labels(tmp_path: Path, content: bytes | None, word: str) -> None:
    labels = tmp_path / "labels.txt"
    if content is not None:
        labels.write_bytes(content)
    state = {"arch": NAME, "state_dict": nested()}
    assert word in failure(tmp_path / "a.pth", state, "--labels", labels)


def test_a_device_holds_no_labels(tmp_path: Path) -> None:
    said = failure(tmp_path / "a.pth", {"arch": NAME, "state_dict": nested()}, "--labels", "/dev/zero")
    assert "/dev/zero has more than 10000000 characters" in said, "it has no end"


def test_the_name_of_a_network_that_ships(tmp_path: Path) -> None:
    result = run("hydravit-cifar10", "-o", tmp_path / "small.safetensors", "--heads", "3")
    assert not result.exit_code and WeightFile(tmp_path / "small.safetensors").heads == (3,)


def test_a_thousand_classes_are_imagenet(tmp_path: Path) -> None:
    torch.save(random_state(1, 192, 1, PATCH, SIZE, 1000), tmp_path / "deit.pth")
    result = run(tmp_path / "deit.pth", "-o", tmp_path / "out.safetensors")
    assert "ImageNet" in result.stderr
    labels = WeightFile(tmp_path / "out.safetensors").meta.labels
    assert len(labels) == 1000
    assert "tench" in labels[0]


def test_report(tmp_path: Path) -> None:
    path, out = tmp_path / "best.pth.tar", tmp_path / "out.safetensors"
    torch.save(timm_checkpoint(nested(1), nested(2)), path)
    result = run(path, "-o", out, "--json", "--licence", "MIT")
    report = unsealed(result.stdout)
    assert result.stdout.count("\n") == 1
    torch.save({"state_dict_ema": random_thinking(1, (1, 2))}, tmp_path / "looks.pth.tar")
    looks = run(tmp_path / "looks.pth.tar", "-o", tmp_path / "looks.safetensors", "--json")
    check("hydrart convert", [report, unsealed(looks.stdout)])
    assert report["output"] == str(out)
    assert report["bytes"] == out.stat().st_size
    assert report["source"]["name"] == "best.pth.tar"
    assert report["source"]["weights"] == "state_dict_ema"
    assert report["source"]["sha256"] == WeightFile(out).meta.source_sha256
    assert (report["head_dim"], report["depth"], report["heads"]) == (16, 2, list(KS))
    assert report["licence"] == WeightFile(out).meta.licence == "MIT"
    assert [row["k"] for row in report["parity"]] == list(KS)
    arch = WeightFile(out).meta.architecture
    for row in report["parity"]:
        assert row["parameters"] == arch.parameters(row["k"])
        assert row["gmacs"] == pytest.approx(arch.macs(row["k"]) / 1e9)
        assert 0 < row["max_difference"] < 1e-4
        assert row["same_top1"] is True
    assert "difference" in result.stderr  # the same for people

    text = run(path, "-o", out).stdout
    rows = [line.split() for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert [int(row[0]) for row in rows] == list(KS)
    assert all(float(row[3]) < 1e-4 and row[4] == "yes" for row in rows)


WITHOUT = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from hydrart.cli.main import main
main(sys.argv[1:], prog_name="hydrart")
"""


def without_pytorch(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", WITHOUT, "convert", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_safetensors_convert_without_pytorch(tmp_path: Path, dtype: torch.dtype) -> None:
    state = nested(dtype=dtype)
    save_file(state, tmp_path / "hydra.safetensors")
    done = without_pytorch(tmp_path / "hydra.safetensors", "-o", tmp_path / "out.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["compared_with"] == "float64 NumPy" and "of float64 NumPy, on" in done.stderr
    assert all(0 < row["max_difference"] < 1e-4 for row in report["parity"])
    assert_same(WeightFile(tmp_path / "out.safetensors"), state)


def test_pickled_checkpoints_need_pytorch(tmp_path: Path) -> None:
    torch.save({"arch": NAME, "state_dict": nested()}, tmp_path / "a.pth")
    done = without_pytorch(tmp_path / "a.pth", "-o", tmp_path / "out.safetensors")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("hydrart: ") and done.stderr.count("\n") == 1
    assert "a.pth is no safetensors file" in done.stderr and install_command("train") in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_a_script_of_the_checkout_calls_the_command(tmp_path: Path) -> None:
    save_file(nested(), tmp_path / "hydra.safetensors")
    script = Path(__file__).parents[2] / "tools" / "convert.py"
    command: list[str | Path] = [
        sys.executable,
        script,
        tmp_path / "hydra.safetensors",
        "-o",
        tmp_path / "out.safetensors",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert WeightFile(tmp_path / "out.safetensors").heads == KS
    done = subprocess.run(command[:2], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("Usage: hydrart convert ")
