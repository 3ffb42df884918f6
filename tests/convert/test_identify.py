"""convert/identify.py, through the command: which network is it?"""

import argparse
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from hydrart.format.reader import WeightFile
from tests.support.converting import (
    CLASSES,
    KS,
    NAME,
    PATCH,
    SIZE,
    State,
    assert_same,
    converted,
    failure,
    nested,
    run,
    torch,
)
from tests.support.torch_vit import random_state


@pytest.mark.parametrize(
    ("name", "width", "family"),
    [
        ("deit_tiny_patch16_224", 192, "deit"),
        ("deit_small_patch16_224", 384, "deit"),
        ("vit_tiny_patch16_224", 192, "vit"),
        ("vit_small_patch16_224.augreg_in1k", 384, "vit"),
        ("timm/vit_base_patch16_224", 768, "vit"),
    ],
)
def test_plain_networks(tmp_path: Path, name: str, width: int, family: str) -> None:
    state = random_state(1, width, 1, PATCH, SIZE, CLASSES)
    torch.save({"arch": name, "state_dict": state}, tmp_path / "a.pth")
    file = converted(tmp_path / "a.pth")
    assert file.meta.architecture.head_dim == 64
    assert_same(file, state, (width // 64,))
    mean = (0.5, 0.5, 0.5) if family == "vit" else (0.485, 0.456, 0.406)
    assert file.meta.preprocessing.mean == mean
    assert file.meta.preprocessing.crop == 0.9
    other = {"vit": "deit", "deit": "vit"}[family]
    assert converted(tmp_path / "a.pth", "--family", other).meta.preprocessing.mean != mean


def test_plain_network_known_by_its_file_name(tmp_path: Path) -> None:
    state = random_state(1, 192, 1, PATCH, SIZE, CLASSES)
    for name, mean in (("vit_tiny.safetensors", 0.5), ("deit_tiny-a1311bcf.safetensors", 0.485)):
        save_file(state, tmp_path / name)
        assert converted(tmp_path / name).meta.preprocessing.mean[0] == mean


def test_assumptions_about_a_network_without_a_name_are_told(tmp_path: Path) -> None:
    path, out = tmp_path / "a.pth", tmp_path / "out.safetensors"
    torch.save(random_state(1, 768, 1, PATCH, SIZE, CLASSES), path)
    assert "--heads 12" in run(path, "-o", out).stderr
    assert WeightFile(out).heads == KS
    assert "--family" in run(path, "-o", out, "--heads", "12").stderr
    assert WeightFile(out).heads == (12,)
    torch.save(nested(), path)
    assert "--family" in run(path, "-o", out).stderr
    assert WeightFile(out).meta.architecture.head_dim == 64
    result = run(path, "-o", out, "--heads", "3-12")
    assert "12 heads of 16" in result.stderr
    assert WeightFile(out).meta.architecture.head_dim == 16


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({}, [], (16, KS)),
        ({"heads": [3, 6, 12]}, [], (16, (3, 6, 12))),
        ({"heads": [3, 4, 5, 6]}, [], (32, (3, 4, 5, 6))),  # what was trained fills the width
        ({"heads": [1, 2, 3]}, [], (64, (1, 2, 3))),
        ({"heads": "3-12"}, [], (16, KS)),  # not a list: no help
        ({"num_heads": 6}, [], (32, (3, 4, 5, 6))),
        ({"head_dim": 64}, [], (64, (3,))),
        ({"head_dim": [64]}, [], (16, KS)),
        ({"heads": [3, 6, 12]}, ["--heads", "3-5"], (16, (3, 4, 5))),
        ({}, ["--heads", "12,3, 6-7"], (16, (3, 6, 7, 12))),
        ({}, ["--heads", "6"], (16, (6,))),
        ({}, ["--head-dim", "32"], (32, (3, 4, 5, 6))),
        ({"heads": [3, 12]}, ["--head-dim", "64", "--heads", "1-3"], (64, (1, 2, 3))),
    ],
)
def test_heads_and_their_width(
    tmp_path: Path, settings: State, options: list[str], expected: tuple[int, tuple[int, ...]]
) -> None:
    state = nested()
    arguments = argparse.Namespace(model=NAME, **settings)
    torch.save({"state_dict": state, "args": arguments}, tmp_path / "a.pth")
    file = converted(tmp_path / "a.pth", *options)
    assert (file.meta.architecture.head_dim, file.heads) == expected
    assert_same(file, state, expected[1])


def test_fewer_heads_make_a_smaller_file(tmp_path: Path) -> None:
    torch.save({"arch": NAME, "state_dict": nested()}, tmp_path / "a.pth")
    whole = converted(tmp_path / "a.pth").path.stat().st_size
    assert converted(tmp_path / "a.pth", "--heads", "3-6").path.stat().st_size < whole / 3


@pytest.mark.parametrize(
    ("width", "name", "options", "words"),
    [
        (192, NAME, ["--heads", "3-13"], ["12 heads of 16", "192 channels", "not 13"]),
        (192, NAME, ["--head-dim", "64", "--heads", "12"], ["3 heads of 64", "not 12", "--head-dim"]),
        (160, NAME, [], ["160", "--head-dim", "--heads"]),
        (160, NAME, ["--head-dim", "64"], ["160 channels", "64"]),
        (768, NAME, ["--head-dim", "16"], ["48 heads of 16", "--heads"]),
        (1280, "vit_huge_patch14_224", [], ["1280", "heads of 64"]),
    ],
)
def test_impossible_heads(tmp_path: Path, width: int, name: str, options: list[str], words: list[str]) -> None:
    state = random_state(1, width, 1, 16, 16, 2)
    message = failure(tmp_path / "a.pth", {"arch": name, "state_dict": state}, *options)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("text", ["", "x", "12-3", "0-3", "3-65", "3,,6", "3-", "-3", "3.5", "100"])
def test_heads_that_are_no_numbers_are_wrong_usage(tmp_path: Path, text: str) -> None:
    result = run(tmp_path / "a.pth", "-o", tmp_path / "out.safetensors", "--heads", text)
    assert result.exit_code == 2
    assert "3-12" in result.stderr


def drop(*names: str) -> Any:
    return lambda state: {name: t for name, t in state.items() if name not in names}


def put(name: str, *shape: int) -> Any:
    return lambda state: state | {name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (put("dist_token", 1, 1, 192), "distil"),
        (put("fc_norm.weight", 192), "average pooling"),
        (put("norm_pre.weight", 192), "norm_pre"),
        (put("blocks.0.attn.q_norm.weight", 16), "q_norm"),
        (put("reg_token", 1, 4, 192), "register"),
        (put("blocks.0.attn.rel_pos.relative_position_bias_table", 4), "relative"),
        (put("blocks.1.gamma_1", 192), "ls1.gamma"),
        (put("blocks.0.attn.q_bias", 192), "q_bias"),
        (put("patch_embed.backbone.conv.weight", 192), "patch embedding"),
        (put("something.else", 3), "something.else"),
        (put("blocks.3.norm1.weight", 192), "blocks.2"),
        (put("blocks.0.mlp.fc1.weight", 384, 192), "[384, 192]"),
        (put("patch_embed.proj.weight", 192, 3, 8, 4), "8x4"),
        (put("patch_embed.proj.weight", 192, 1, 8, 8), "1 channels"),
        (put("pos_embed", 1, 4, 192), "4 tokens"),
        (put("pos_embed", 5), "tokens"),
        (put("blocks.0.ls1.gamma", 192), "ls2.gamma"),
        (put("head.weight", 7, 96), "[7, 96]"),
        (put("heads.3.weight", 7, 48), "heads.3.bias"),
        (lambda state: put("head.bias", 0)(put("head.weight", 0, 192)(state)), "classes"),
        (drop("cls_token"), "class token"),
        (drop("blocks.0.attn.qkv.bias"), "blocks.0.attn.qkv.bias"),
        (drop("head.weight", "head.bias"), "classifier"),
        (drop("pos_embed"), "tokens"),
        (drop("patch_embed.proj.weight"), "no Vision Transformer"),
    ],
)
def test_other_networks_are_named(tmp_path: Path, change: Any, word: str) -> None:
    message = failure(tmp_path / "a.pth", {"arch": NAME, "state_dict": change(nested())})
    assert word in message
