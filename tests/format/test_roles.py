"""roles.py against names, shapes, cuts and counts that are written out."""

import doctest
from dataclasses import replace

import numpy as np
import pytest

from hydrart.format import roles
from hydrart.format.architecture import Architecture, Look
from hydrart.format.layout import Layout
from hydrart.format.roles import Then, parameters_of

TINY = Architecture(image_size=8, patch=4, depth=2, head_dim=16, heads=(2, 3), classes=5)
TOKENS = replace(TINY, looks=(Look(2, 8), Look(3, 8)), fusion="tokens")
GRID = replace(TINY, image_size=12, looks=(Look(2, 8), Look(3, 12)), fusion="grid")
BASE = Architecture(image_size=224, patch=16, depth=12, head_dim=64, heads=(3, 6, 12), classes=1000)

# timm's VisionTransformer(img_size=8, patch_size=4, depth=2, embed_dim=48, num_classes=5).state_dict()
BLOCK = {
    "norm1.weight": (48,),
    "norm1.bias": (48,),
    "attn.qkv.weight": (144, 48),
    "attn.qkv.bias": (144,),
    "attn.proj.weight": (48, 48),
    "attn.proj.bias": (48,),
    "norm2.weight": (48,),
    "norm2.bias": (48,),
    "mlp.fc1.weight": (192, 48),
    "mlp.fc1.bias": (192,),
    "mlp.fc2.weight": (48, 192),
    "mlp.fc2.bias": (48,),
}
TIMM = {
    "cls_token": (1, 1, 48),
    "pos_embed": (1, 5, 48),
    "patch_embed.proj.weight": (48, 3, 4, 4),
    "patch_embed.proj.bias": (48,),
    **{f"blocks.0.{name}": shape for name, shape in BLOCK.items()},
    **{f"blocks.1.{name}": shape for name, shape in BLOCK.items()},
    "norm.weight": (48,),
    "norm.bias": (48,),
    "head.weight": (5, 48),
    "head.bias": (5,),
}
LAYER_SCALE = {f"blocks.{i}.{name}.gamma": (48,) for i in (0, 1) for name in ("ls1", "ls2")}


def shapes(arch: Architecture, k: int) -> dict[str, tuple[int, ...]]:
    return {name: parameter.shape(k) for name, parameter in parameters_of(arch).items()}


def test_names_and_shapes_are_timms_in_its_order() -> None:
    assert shapes(TINY, 3) == TIMM
    assert list(shapes(TINY, 3)) == list(TIMM)


def test_layer_scale_ends_each_branch() -> None:
    scaled = shapes(replace(TINY, layer_scale=True), 3)
    assert scaled == TIMM | LAYER_SCALE
    names = list(scaled)
    for branch, scale in (("attn.proj.bias", "ls1.gamma"), ("mlp.fc2.bias", "ls2.gamma")):
        assert names[names.index(f"blocks.1.{branch}") + 1] == f"blocks.1.{scale}"


def test_separate_classifiers_are_as_wide_as_their_k_and_belong_to_it_alone() -> None:
    arch = replace(TINY, separate_classifiers=True)
    own = {"heads.2.weight": (5, 32), "heads.2.bias": (5,), "heads.3.weight": (5, 48), "heads.3.bias": (5,)}
    common = {name: shape for name, shape in TIMM.items() if not name.startswith("head.")}
    assert shapes(arch, 3) == common | own
    assert {p.name: p.only for p in parameters_of(arch).values() if p.only} == {name: int(name[6]) for name in own}
    assert not any(p.only for p in parameters_of(TINY).values())


def test_what_the_looks_own() -> None:
    """Positions replace class token and positions. What comes from the look of 2 heads has 32 channels."""
    shared = {name: shape for name, shape in TIMM.items() if name not in ("cls_token", "pos_embed")}
    positions: dict[str, tuple[int, ...]] = {"looks.2.pos_embed": (1, 5, 32), "looks.3.pos_embed": (1, 5, 48)}
    assert shapes(TOKENS, 3) == shared | positions | {"looks.3.fusion.proj.weight": (48, 32)}
    own = positions | {"looks.3.pos_embed": (1, 10, 48)}
    for k in (2, 3):
        own[f"looks.{k}.patch_embed.gamma"] = (16 * k,)
        for i in (0, 1):
            own |= {f"looks.{k}.blocks.{i}.{name}.gamma": (16 * k,) for name in ("ls1", "ls2", "gate")}
    own["looks.3.fusion.depthwise.weight"] = (32, 3, 3)
    own |= {f"looks.3.fusion.{name}.weight": (48, 32) for name in ("patches", "cls_token")}
    assert shapes(GRID, 3) == shared | own
    for arch in (TOKENS, GRID):
        parameters = parameters_of(arch).values()
        assert {p.name: p.only for p in parameters if p.only} == {
            p.name: int(p.name[6]) for p in parameters if p.name.startswith("looks.")
        }
        assert not any(p.name.startswith("looks.3") for p in parameters_of(arch.cut((2,))).values())


def rows(name: str, k: int) -> np.ndarray:
    """Which outputs of a tensor of 3 heads k heads use: the paper's rule, spelt out."""
    p = 16 * k
    if "qkv" in name:
        return np.array([third * 48 + i for third in range(3) for i in range(p)])
    if "fc1" in name:
        return np.arange(4 * p)
    return np.arange(5) if name.startswith("head") else np.arange(p)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_cut_takes_the_rows_and_columns_of_the_first_heads(k: int) -> None:
    p = 16 * k
    for name, parameter in parameters_of(replace(TINY, layer_scale=True)).items():
        shape = parameter.shape(3)
        whole = np.arange(np.prod(shape)).reshape(shape)
        if name in ("cls_token", "pos_embed"):
            expected = whole[:, :, :p]
        else:
            expected = whole[rows(name, k)]
            if whole.ndim == 2:
                expected = expected[:, : 4 * p if "fc2" in name else p]
        np.testing.assert_array_equal(parameter.cut(whole, k), expected, err_msg=name)
        assert parameter.cut(whole, k).shape == parameter.shape(k), name


def test_a_view_writes_into_the_tensor() -> None:
    qkv = parameters_of(TINY)["blocks.0.attn.qkv.weight"]
    whole = np.zeros((144, 48))
    view = qkv.view(whole, 2)
    assert view.shape == (3, 32, 32)
    view[1] = 7
    expected = np.zeros((144, 48))
    expected[48:80, :32] = 7
    np.testing.assert_array_equal(whole, expected)


def test_the_order_of_the_matrices_is_the_one_that_is_stated() -> None:
    assert [role.name for role in roles.BLOCK_MATRICES] == ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
    assert [role.name for role in roles.BLOCK_NORMS] == ["norm1", "norm2"]
    assert roles.matrix_index(roles.PATCH) == 0
    assert [roles.matrix_index(role) for role in roles.BLOCK_MATRICES] == [1, 2, 3, 4]
    assert [roles.matrix_index(role, 1) for role in roles.BLOCK_MATRICES] == [5, 6, 7, 8]
    for arch in (TINY, replace(TINY, separate_classifiers=True, layer_scale=True)):
        names = list(Layout(arch, "int8").matrices)
        assert names[0] == "patch_embed.proj.weight"
        for i in range(arch.depth):
            for role in roles.BLOCK_MATRICES:
                assert names[roles.matrix_index(role, i)] == f"blocks.{i}.{role.name}.weight"
        own = arch.separate_classifiers
        assert names[9:] == (["heads.2.weight", "heads.3.weight"] if own else ["head.weight"])


def test_what_follows_each_matrix() -> None:
    follows = {role.name: role.then for role in roles.ROLES if role.has_matrix}
    assert follows == {
        "patch_embed.proj": Then.NOTHING,
        "attn.qkv": Then.ATTENTION,
        "attn.proj": Then.RESIDUAL,
        "mlp.fc1": Then.GELU,
        "mlp.fc2": Then.RESIDUAL,
        "head": Then.NOTHING,
        "heads": Then.NOTHING,
        "proj": Then.NOTHING,
        "patches": Then.NOTHING,
        "cls_token": Then.NOTHING,
    }


def test_which_factors_scale_a_layer() -> None:
    scaled = replace(TINY, layer_scale=True)
    assert (roles.PROJ.scale(scaled), roles.FC2.scale(scaled)) == (roles.LS1, roles.LS2)
    assert (roles.PROJ.scale(GRID), roles.FC2.scale(GRID)) == (roles.LOOK_LS1, roles.LOOK_LS2)
    assert roles.PATCH.scale(GRID) is roles.LOOK_PATCH_SCALE and roles.PATCH.scale(scaled) is None
    for arch in (TINY, TOKENS):
        assert roles.PROJ.scale(arch) is roles.FC2.scale(arch) is roles.PATCH.scale(arch) is None


@pytest.mark.parametrize(
    ("k", "parameters", "gmacs"), [(3, 5_717_416, 1.25), (6, 22_050_664, 4.60), (12, 86_567_656, 17.56)]
)
def test_counts_are_those_of_deit_and_of_the_paper(k: int, parameters: int, gmacs: float) -> None:
    """Parameters of DeiT-tiny, -small and -base in timm; GMACs of HydraViT's table."""
    assert BASE.parameters(k) == parameters
    assert BASE.macs(k) / 1e9 == pytest.approx(gmacs, abs=0.01)
    p, n = 64 * k, 197
    assert BASE.macs(k) == 196 * 768 * p + 12 * (12 * n * p * p + 2 * n * n * p) + 1000 * p


def test_counts_of_looks() -> None:
    """ThinkingViT's second look projects 197 tokens; ProgResViT's the 225 patches of 240 pixels and the class token."""
    thinking = replace(BASE, heads=(3, 6), looks=(Look(3, 224), Look(6, 224)), fusion="tokens")
    assert thinking.macs(3) == BASE.macs(3) and thinking.macs(6) == BASE.macs(6) + 197 * 192 * 384
    assert thinking.parameters(3) == BASE.parameters(3) - 192
    assert thinking.parameters(6) == BASE.parameters(6) - 384 + 192 * 384
    progressive = replace(thinking, image_size=240, looks=(Look(3, 192), Look(6, 240)), fusion="grid")
    n = 145
    assert progressive.macs(3) == 144 * 768 * 192 + 12 * (12 * n * 192**2 + 2 * n * n * 192) + 192_000
    n, fusion = 226, 226 * 192 * 384
    assert progressive.macs(6) == 225 * 768 * 384 + 12 * (12 * n * 384**2 + 2 * n * n * 384) + 384_000 + fusion


def test_counts_of_the_variants() -> None:
    assert replace(BASE, layer_scale=True).parameters(6) - BASE.parameters(6) == 12 * 2 * 384
    assert replace(BASE, separate_classifiers=True).parameters(6) == BASE.parameters(6)
    assert replace(BASE, separate_classifiers=True, layer_scale=True).macs(6) == BASE.macs(6)


@pytest.mark.parametrize(
    ("name", "block", "k"),
    [
        ("blocks.3.attn.qkv.weight", 3, None),
        ("blocks.11.gamma_1", 11, None),
        ("heads.12.weight", None, 12),
        ("heads.12.bias", None, None),
        ("head.weight", None, None),
        ("xblocks.3.norm1.weight", None, None),
        ("blocks.x.norm1.weight", None, None),
        ("heads.12.weight.old", None, None),
    ],
)
def test_numbers_in_names(name: str, block: int | None, k: int | None) -> None:
    assert roles.block_number(name) == block
    assert roles.own_k(name) == k


def test_the_example_of_the_docstring_is_true() -> None:
    assert doctest.testmod(roles) == (0, 3)
