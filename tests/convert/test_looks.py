"""convert/looks.py, through the command: checkpoints of networks of several looks, in their authors' forms."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from hydrart.convert.parity import one_thread
from hydrart.engine import reference
from hydrart.format.architecture import Look
from hydrart.format.reader import WeightFile
from tests.support.converting import converted, failure, run, sentence, torch
from tests.support.looks import Case, case
from tests.support.torch_looks import random_progressive, random_thinking


def check(file: WeightFile, known: Case, within: float = 1e-4) -> None:
    """Compare the answers of every look with those of the independent network."""
    arch, before = file.meta.architecture, None
    assert arch == known.arch and file.meta.version == 2
    state = file.state(arch.heads[-1])
    for k, expected in zip(arch.heads, known.logits, strict=True):
        with one_thread():
            before = reference.tokens(state, arch, known.x.astype(np.float32), k, before)
        assert np.abs(expected).max() > 0.1
        assert np.abs(reference.classify(state, arch, before[:, 0], k) - expected).max() < within


def timm(state: dict[str, Any], **options: Any) -> dict[str, Any]:
    """A checkpoint in the form of timm's saver. Its raw weights are others than the averaged ones."""
    raw = {name: tensor + 1 for name, tensor in state.items()}
    args = argparse.Namespace(model="thinkingvit_deit", mean=None, crop_pct=None, **options)
    averaged = {f"module.{name}": tensor for name, tensor in state.items()}
    return {"epoch": 3, "arch": args.model, "state_dict": raw, "args": args, "version": 2, "state_dict_ema": averaged}


def folder(path: Path, state: dict[str, Any], **config: Any) -> Path:
    path.mkdir()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("name", ["thinking", "thinking of three", "thinking, cut"])
def test_thinking_vit_as_a_checkpoint_of_timm(name: str, tmp_path: Path) -> None:
    known = case(name)
    torch.save(timm(known.state, thinking_stages=list(known.arch.heads)), tmp_path / "a.pth.tar")
    file = converted(tmp_path / "a.pth.tar")
    check(file, known)
    assert file.meta.preprocessing.crop == 0.9 and file.meta.preprocessing.mean[0] == 0.485


@pytest.mark.parametrize("name", ["thinking", "thinking of three"])
def test_thinking_vit_of_the_hub(name: str, tmp_path: Path) -> None:
    known = case(name)
    path = folder(tmp_path / "hub", known.state, architecture="thinkingvit", num_classes=7)
    result = run(path, "-o", tmp_path / "out.safetensors")
    assert result.exit_code == 0, result.output
    assert (
        "note: it is a ThinkingViT, by its tensors alpha.0 and proj_layer.weight, with looks of 1 heads"
        in result.stderr
    )
    check(WeightFile(tmp_path / "out.safetensors"), known)


def test_the_parity_table_has_a_row_for_each_look(tmp_path: Path) -> None:
    known = case("progressive")
    torch.save({"state_dict_ema": known.state}, tmp_path / "a.pth.tar")
    result = run(tmp_path / "a.pth.tar", "-o", tmp_path / "out.safetensors", "--sizes", "64,80", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [row["k"] for row in report["parity"]] == [1, 2] and report["compared_with"] == "float64 NumPy"
    assert all(0 < row["max_difference"] < 1e-4 for row in report["parity"])
    assert report["looks"] == [{"heads": 1, "image_size": 64}, {"heads": 2, "image_size": 80}]
    assert "it is a ProgResViT, by its tensors cond_mlp" in report["notes"][0]


@pytest.mark.parametrize("entry", ["state_dict_ema", "model_ema", "state_dict", "model", None])
def test_progresvit_in_each_entry(entry: str | None, tmp_path: Path) -> None:
    known = case("progressive")
    prefixed = {f"module.{name}": tensor for name, tensor in known.state.items()}
    torch.save({entry: prefixed} if entry else prefixed, tmp_path / "a.pth.tar")
    check(converted(tmp_path / "a.pth.tar", "--sizes", "64, 80"), known)


def test_progresvit_with_its_config(tmp_path: Path) -> None:
    """Distilled networks have a second layer scale, and pictures that are larger than those of all looks."""
    known = case("distilled")
    arguments = {"img_size": 80, "progress_stages": [1, 2], "progress_img_sizes": [64, 80], "init_values": 1e-5}
    config = {"input_size": [3, 96, 96], "crop_pct": 0.9, "mean": [0.485, 0.456, 0.406]}
    path = folder(tmp_path / "hub", known.state, model_args=arguments, pretrained_cfg=config)
    file = converted(path)
    check(file, known)
    assert file.meta.preprocessing.size == 96
    assert converted(path, "--crop", "0.8").meta.preprocessing.crop == 0.8
    assert converted(path, "--sizes", "48,80").meta.architecture.looks == (Look(1, 48), Look(2, 80))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_and_slices_of_a_weight_file(precision: str, tmp_path: Path) -> None:
    known = case("progressive")
    torch.save(known.state, tmp_path / "a.pth")
    whole = converted(tmp_path / "a.pth", "--sizes", "64,80")
    check(converted(tmp_path / "a.pth", "--sizes", "64,80", "--precision", precision), known, within=0.3)
    path = whole.path.rename(tmp_path / "whole.safetensors")
    small = converted(path, "--precision", precision, "--heads", "1")
    assert small.heads == (1,) and small.meta.architecture.looks == (Look(1, 64),)
    assert "only the last looks can be left out" in sentence(
        run(path, "-o", tmp_path / "x.safetensors", "--heads", "2")
    )


def changed(state: dict[str, Any], **tensors: Any) -> dict[str, Any]:
    found = state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def test_what_is_refused(tmp_path: Path) -> None:
    thinking, progressive = random_thinking(1, (1, 2)), random_progressive(1, (1, 2), 80)
    path = tmp_path / "a.pth.tar"
    swin = {"layers.0.x": torch.ones(2), "alpha.0": torch.ones(1), "proj_layer.upsample.weight": torch.ones(2, 2)}
    assert "is a ThinkingViT on Swin" in failure(path, swin)
    assert "does not say the sizes of its looks: give --sizes FIRST,80" in failure(path, progressive)
    for sizes in ("80", "64,96", "32,64,80"):
        assert "has 2 looks, the last at 80 pixels" in failure(path, progressive, "--sizes", sizes)
    assert "not of a multiple of patch 16" in failure(path, progressive, "--sizes", "60,80")
    assert "not of a multiple of patch 16" in failure(path, progressive, "--sizes", "96,80")
    assert "leave --sizes out" in failure(path, thinking, "--sizes", "32,32")
    assert "--heads and --head-dim are for networks of one look" in failure(path, thinking, "--heads", "1")
    old = random_thinking(1, (1, 2), old=True, width=192)
    assert "does not say its stages" in failure(path, old)
    assert "says that its looks have [2, 3] heads" in failure(path, timm(thinking, thinking_stages=[2, 3]))
    assert "not ascending" in failure(path, timm(random_thinking(1, (2, 2)), thinking_stages=[2, 2]))
    assert "lacks the tensor proj_layer.bias" in failure(path, changed(thinking, proj_layer__bias=None))
    assert "lacks the tensor fusion_prev_delta.0.net.2.bias" in failure(
        path, changed(progressive, fusion_prev_delta__0__net__2__bias=None), "--sizes", "64,80"
    )
    assert "holds the tensor more" in failure(path, changed(thinking, more=torch.ones(2)))
    infinite = changed(progressive, cond_mlp__net__0__bias=torch.full((128,), torch.nan))
    assert "not finite" in failure(path, infinite, "--sizes", "64,80")


def test_sizes_are_for_networks_of_looks(tmp_path: Path) -> None:
    from tests.support.converting import nested

    assert "--sizes is for ProgResViT" in failure(tmp_path / "a.pth", nested(), "--sizes", "8,16")
    assert run("x", "-o", "y.safetensors", "--sizes", "a,b").exit_code == 2
    assert run("x", "-o", "y.safetensors", "--crop", "2").exit_code == 2
