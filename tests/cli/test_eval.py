"""hydrart eval"""

import stat
from dataclasses import replace
from pathlib import Path

import hydrart
from hydrart.format.reader import WeightFile
from tests.support.commands import Make, call, class_tree, good, json_lines, noise, sentence
from tests.support.networks import CIFAR, SMALL, make_file


def test_eval(weights: Path, model: hydrart.Model, tmp_path: Path) -> None:
    # with k = 12 each picture lies in the right folder but one
    labels = {i: model(noise(i)).label for i in range(8)}
    labels[7] = next(label for label in CIFAR if label != labels[7])
    tree = class_tree(tmp_path / "tree", labels)
    shown = good("eval", tree, "--weights", weights, "--json", "--k", 3, "--k", 12)
    (report,) = json_lines(shown.stdout)
    assert report["folder"] == str(tree) and report["pictures"] == 8 and report["skipped"] == 0
    assert report["precision"] == "fp32" and report["backend"] == "native"
    small, large = report["results"]
    assert (small["k"], large["k"]) == (3, 12) and large["top1"] == 7 / 8
    assert small["top1"] == sum(model(noise(i), 3).label == labels[i] for i in range(8)) / 8
    top5 = sum(labels[i] in dict(model(noise(i)).top(5)) for i in range(8)) / 8
    assert large["top5"] == top5 and large["pictures_per_s"] > 0
    (other,) = json_lines(good("eval", tree, "--weights", weights, "--json", "--k", 12, "--batch", 3).stdout)
    assert other["results"][0]["top1"] == large["top1"]


def test_eval_as_text(weights: Path, tmp_path: Path) -> None:
    tree = class_tree(tmp_path / "tree", {0: "cat", 1: "DOG"})
    shown = good("eval", tree, "--weights", weights)
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("2 pictures") and lines[1].split()[:3] == ["k", "top-1", "top-5"]
    assert [int(line.split()[0]) for line in lines[2:]] == list(SMALL.heads)
    assert "Evaluating" in shown.stderr


def test_eval_takes_folders_in_the_order_of_the_classes(make_weights: Make, tmp_path: Path) -> None:
    path = make_weights(replace(SMALL, classes=12))
    answer = hydrart.load(path)(noise(0)).label
    names = [f"class-{i:02}" for i in range(12)]
    for name in names:
        (tmp_path / "tree" / name).mkdir(parents=True)
    class_tree(tmp_path / "tree", {0: f"class-{answer.removeprefix('class ')}"})
    (report,) = json_lines(good("eval", tmp_path / "tree", "--weights", path, "--json", "--k", 12).stdout)
    assert report["results"][0]["top1"] == 1


def test_eval_reads_numbers_of_classes_as_numbers(make_weights: Make, tmp_path: Path) -> None:
    """10 sorts before 2 as text: a wrong accuracy that nobody would notice."""
    path = make_weights(replace(SMALL, classes=12))
    model = hydrart.load(path)
    for i in range(12):
        (tmp_path / "tree" / str(i)).mkdir(parents=True)
    numbers = {i: str(int(model(noise(i)).label.removeprefix("class "))) for i in range(6)}
    assert any(int(number) >= 2 for number in numbers.values()), "the order matters for these"
    class_tree(tmp_path / "tree", numbers)
    (report,) = json_lines(good("eval", tmp_path / "tree", "--weights", path, "--json", "--k", 12).stdout)
    assert report["results"][0]["top1"] == 1


def test_eval_does_not_guess_where_one_label_is_misspelt(weights: Path, tmp_path: Path) -> None:
    names = ["aeroplane", *CIFAR[1:]]
    tree = class_tree(tmp_path / "tree", dict(enumerate(names)))
    assert "aeroplane" in sentence("eval", tree, "--weights", weights)


def test_eval_records_accuracy_in_the_file(tmp_path: Path) -> None:
    path = make_file(tmp_path / "net.safetensors")
    tree = class_tree(tmp_path / "tree", dict(enumerate(CIFAR)))
    good("eval", tree, "--weights", path, "--record", "noise", "--json")
    accuracy = WeightFile(path).meta.accuracy
    assert accuracy is not None and (accuracy.dataset, accuracy.pictures) == ("noise", 10)
    assert set(accuracy.top1) == set(SMALL.heads)


def test_a_record_keeps_the_link_and_the_mode(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path, link = make_file(tmp_path / "elsewhere/net.safetensors"), tmp_path / "link.safetensors"
    link.symlink_to(path)
    path.chmod(0o640)
    tree = class_tree(tmp_path / "tree", {0: "cat"})
    good("eval", tree, "--weights", link, "--record", "noise")
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    accuracy = WeightFile(path).meta.accuracy
    assert accuracy is not None and accuracy.dataset == "noise"


def test_accuracy_of_another_preprocessing_is_not_recorded(weights: Path, tmp_path: Path) -> None:
    tree = class_tree(tmp_path / "tree", {0: "cat", 1: "dog"})
    before = weights.read_bytes()
    done = call("eval", tree, "--weights", weights, "--record", "x", "--fit", "pad")
    assert done.exit_code == 2 and "leave out --fit" in done.stderr and weights.read_bytes() == before
    (report,) = json_lines(good("eval", tree, "--weights", weights, "--fit", "pad", "--json").stdout)
    assert report["pictures"] == 2


def test_eval_with_merged_tokens(weights: Path, model: hydrart.Model, tmp_path: Path) -> None:
    labels = {i: model(noise(i), merge=6).label for i in range(8)}
    assert any(model(noise(i)).label != label for i, label in labels.items()), "merging changes some answers"
    tree = class_tree(tmp_path / "tree", labels)
    (report,) = json_lines(good("eval", tree, "--weights", weights, "--json", "--k", 12, "--merge", 6).stdout)
    assert report["results"][0]["top1"] == 1
    lines = good("eval", tree, "--weights", weights, "--k", 12, "--merge", 6).stdout.splitlines()
    assert lines[-1].split()[-1] == f"{SMALL.macs(12, 6) / 1e6:.1f}"
    assert call("eval", tree, "--weights", weights, "--merge", 6, "--record", "x").exit_code == 2
    assert "more than half" in sentence("eval", tree, "--weights", weights, "--merge", 60)
