"""What a network is made of: the one list from which every name, shape, order and cut derives.

A role is a kind of layer, such as the qkv of every block. Its parts are its one or two tensors. Each part says how its
sides grow with the heads. A parameter is one part at one place of one network, such as the qkv weight of block 3.
Names, shapes and order are timm's (https://github.com/huggingface/pytorch-image-models, VisionTransformer). What
belongs to one look of a network of several looks has its name after "looks.K.", with the heads K of that look.

Everything that needs names or shapes reads this list: layout, reader, writer, the kernels' tables, reference, ONNX
export, PyTorch network, converter, and the counts of parameters and multiply-accumulates. A new tensor is one more
role, and one more step in the reference and in the kernels.

>>> from hydrart.format.architecture import Architecture
>>> arch = Architecture(image_size=224, patch=16, depth=12, head_dim=64, heads=(3, 6, 12), classes=1000)
>>> parameters_of(arch)["blocks.3.attn.qkv.weight"].shape(6)
(1152, 384)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydrart.format.architecture import Architecture

Index = int | tuple[int, int] | None


@dataclass(frozen=True)
class Side:
    """One side of a tensor.

    - per_head: blocks of head_dim channels that each head adds; 0 where the side does not grow with the heads.
    - fixed: the length of such a side, or the name of what holds it: a property of Architecture, or a method of k.
    - parts: number of equal parts of the side, such as 3 for queries, keys and values. A head adds blocks to each.
    """

    per_head: int = 0
    fixed: int | str = 1
    parts: int = 1

    def length(self, arch: Architecture, k: int) -> int:
        """Number of elements along the side with k heads."""
        if self.per_head:
            return self.per_head * arch.width(k)
        if isinstance(self.fixed, int):
            return self.fixed
        value = getattr(arch, self.fixed)
        return int(value(k) if callable(value) else value)


@dataclass(frozen=True, eq=False)
class Part:
    """One tensor of a role.

    - suffix: what the tensor's name has after the role's name.
    - sides: of timm's shape, outputs first.
    - is_matrix: whether it multiplies its inputs. The file stores a matrix in tiles of its precision, and every other
      part in float32.
    - start: the value at the start of a training, for a part that is not drawn at random.
    """

    suffix: str
    sides: tuple[Side, ...]
    is_matrix: bool = False
    start: float = 0.0


class Each(Enum):
    """Where a role occurs. The value is the template of its name.

    The index is the block, the k, or both: (k, block). A look is named by its heads k.
    """

    NETWORK = "{name}"
    BLOCK = "blocks.{index}.{name}"
    K = "{name}.{index}"
    LOOK = "looks.{index}.{name}"
    LATER_LOOK = "looks.{index}.fusion.{name}"  # each look but the first
    LOOK_BLOCK = "looks.{index[0]}.blocks.{index[1]}.{name}"  # each block of each look

    @property
    def by_k(self) -> bool:
        """Whether one k alone uses what occurs there."""
        return self not in (Each.NETWORK, Each.BLOCK)

    @property
    def by_block(self) -> bool:
        """Whether it occurs in every block."""
        return self in (Each.BLOCK, Each.LOOK_BLOCK)

    def index(self, k: int, block: int | None) -> Index:
        """The index of its place in the network of k heads, in this block."""
        if self is Each.LOOK_BLOCK:
            assert block is not None
            return k, block
        return k if self.by_k else block if self.by_block else None


class Then(Enum):
    """What follows the product with a role's matrix."""

    NOTHING = "nothing"
    ATTENTION = "attention"
    GELU = "gelu"
    RESIDUAL = "residual"  # layer scale where there is one, then added to the residual stream


@dataclass(frozen=True, eq=False)
class Role:
    """A kind of layer or parameter.

    - name: timm's, without the block and without the part.
    - parts: its tensors.
    - each: where it occurs.
    - rows: how many rows of one picture pass through it, written as Side.fixed is.
    - then: what follows its matrix.
    - layer_scale: the roles whose factors scale its outputs. A network has at most one of them.
    - needs: a field of Architecture, and the values of it with which a network has this role.
    """

    name: str
    parts: tuple[Part, ...]
    each: Each = Each.NETWORK
    rows: int | str = "tokens"
    then: Then = Then.NOTHING
    layer_scale: tuple[Role, ...] = ()
    needs: tuple[str, tuple[bool | str, ...]] | None = None

    def at(self, index: Index = None) -> str:
        """Its name at this place (see Each): "blocks.3.attn.qkv"."""
        return self.each.value.format(name=self.name, index=index)

    def names(self, index: Index = None) -> tuple[str, ...]:
        """The names of its tensors at this place, in the order of `parts`."""
        name = self.at(index)
        return tuple(f"{name}.{part.suffix}" if part.suffix else name for part in self.parts)

    def used(self, arch: Architecture) -> bool:
        """Whether the network has this role."""
        return self.needs is None or getattr(arch, self.needs[0]) in self.needs[1]

    def scale(self, arch: Architecture) -> Role | None:
        """The role whose factors scale its outputs in this network; None where nothing does."""
        return next((role for role in self.layer_scale if role.used(arch)), None)

    def indices(self, arch: Architecture) -> Iterator[Index]:
        """Each place in the network: the block numbers, the ks, both, or a single None."""
        if not self.used(arch):
            return
        ks = arch.heads[1 if self.each is Each.LATER_LOOK else 0 :] if self.each.by_k else (0,)
        for k in ks:
            for block in range(arch.depth) if self.each.by_block else (None,):
                yield self.each.index(k, block)

    def parameters(self, arch: Architecture, index: Index = None) -> list[Parameter]:
        """Its tensors at this place."""
        return [
            Parameter(name, self, part, arch, index) for name, part in zip(self.names(index), self.parts, strict=True)
        ]

    @property
    def has_matrix(self) -> bool:
        """Whether one of its tensors is a matrix."""
        return any(part.is_matrix for part in self.parts)


@dataclass(frozen=True)
class Parameter:
    """One tensor of one network.

    - name: timm's. The file writes the name of the shell before it.
    - role, part: what the tensor is.
    - arch: the network.
    - index: its place (see Each).
    """

    name: str
    role: Role
    part: Part
    arch: Architecture = field(repr=False)
    index: Index = None

    @property
    def only(self) -> int | None:
        """The one k that uses it; None where every k does."""
        if not self.role.each.by_k:
            return None
        return self.index[0] if isinstance(self.index, tuple) else self.index

    @property
    def growing(self) -> int | None:
        """The first axis that grows with the heads; None where no axis does."""
        return next((axis for axis, side in enumerate(self.part.sides) if side.per_head), None)

    def shape(self, k: int) -> tuple[int, ...]:
        """timm's shape in the network of k heads."""
        return tuple(side.length(self.arch, self.only or k) for side in self.part.sides)

    def view(self, values: Any, k: int) -> Any:
        """The elements of a larger tensor that k heads use, as a view [parts, outputs, ...] of NumPy or PyTorch.

        values: the tensor of k heads or more, in timm's shape. parts is 3 for qkv, whose queries, keys and values are
        cut one by one, and 1 for all others.
        """
        parts = self.part.sides[0].parts
        outputs, *others = self.shape(k)
        split = values.reshape(parts, -1, *values.shape[1:])
        return split[(slice(None), slice(outputs // parts), *map(slice, others))]

    def cut(self, values: Any, k: int) -> Any:
        """The elements of a larger tensor that k heads use, in timm's shape. It is a view where that is possible."""
        return self.view(values, k).reshape(self.shape(k))


CHANNELS = Side(per_head=1)  # the residual stream
CHANNELS_BEFORE = Side(fixed="width_before")  # that of the look before
TOKENS = Side(fixed="tokens")
CLASSES = Side(fixed="classes")


def _linear(outputs: Side, *inputs: Side) -> tuple[Part, Part]:
    return _matrix(outputs, *inputs), Part("bias", (outputs,))


def _matrix(outputs: Side, *inputs: Side) -> Part:
    return Part("weight", (outputs, *inputs), is_matrix=True)


NORM = (Part("weight", (CHANNELS,), start=1.0), Part("bias", (CHANNELS,)))
SCALE = (Part("gamma", (CHANNELS,), start=1e-5),)
GAIN = (Part("gamma", (CHANNELS,), start=1.0),)
SINGLE, LOOKS = ("fusion", ("none",)), ("fusion", ("tokens", "grid"))
BY_TOKENS, BY_GRID = ("fusion", ("tokens",)), ("fusion", ("grid",))

CLASS_TOKEN = Role("cls_token", (Part("", (Side(), Side(), CHANNELS)),), needs=SINGLE)
POSITIONS = Role("pos_embed", (Part("", (Side(), TOKENS, CHANNELS)),), needs=SINGLE)
LOOK_PATCH_SCALE = Role("patch_embed", GAIN, Each.LOOK, needs=BY_GRID)
PATCH = Role(
    "patch_embed.proj",
    _linear(CHANNELS, Side(fixed="channels"), Side(fixed="patch"), Side(fixed="patch")),
    rows="patches",
    layer_scale=(LOOK_PATCH_SCALE,),
)
NORM1 = Role("norm1", NORM, Each.BLOCK)
QKV = Role("attn.qkv", _linear(Side(per_head=3, parts=3), CHANNELS), Each.BLOCK, then=Then.ATTENTION)
LS1 = Role("ls1", SCALE, Each.BLOCK, needs=("layer_scale", (True,)))
LOOK_LS1 = Role("ls1", GAIN, Each.LOOK_BLOCK, needs=BY_GRID)
PROJ = Role("attn.proj", _linear(CHANNELS, CHANNELS), Each.BLOCK, then=Then.RESIDUAL, layer_scale=(LS1, LOOK_LS1))
NORM2 = Role("norm2", NORM, Each.BLOCK)
FC1 = Role("mlp.fc1", _linear(Side(per_head=4), CHANNELS), Each.BLOCK, then=Then.GELU)
LS2 = Role("ls2", SCALE, Each.BLOCK, needs=("layer_scale", (True,)))
LOOK_LS2 = Role("ls2", GAIN, Each.LOOK_BLOCK, needs=BY_GRID)
FC2 = Role("mlp.fc2", _linear(CHANNELS, Side(per_head=4)), Each.BLOCK, then=Then.RESIDUAL, layer_scale=(LS2, LOOK_LS2))
FINAL_NORM = Role("norm", NORM)
CLASSIFIER = Role("head", _linear(CLASSES, CHANNELS), rows=1, needs=("separate_classifiers", (False,)))
CLASSIFIERS = Role("heads", _linear(CLASSES, CHANNELS), Each.K, rows=1, needs=("separate_classifiers", (True,)))

# Of networks of several looks. The positions of a look hold all that is the same for every picture: the class token,
# in row 0, and the bias of the fusion. A gate multiplies the residual stream after the attention of its block.
LOOK_POSITIONS = Role("pos_embed", (Part("", (Side(), TOKENS, CHANNELS)),), Each.LOOK, needs=LOOKS)
LOOK_GATE = Role("gate", GAIN, Each.LOOK_BLOCK, needs=BY_GRID)
FUSION = Role("proj", (_matrix(CHANNELS, CHANNELS_BEFORE),), Each.LATER_LOOK, needs=BY_TOKENS)
FUSION_DEPTHWISE = Role(
    "depthwise", (Part("weight", (CHANNELS_BEFORE, Side(fixed=3), Side(fixed=3))),), Each.LATER_LOOK, needs=BY_GRID
)
FUSION_PATCHES = Role("patches", (_matrix(CHANNELS, CHANNELS_BEFORE),), Each.LATER_LOOK, rows="patches", needs=BY_GRID)
FUSION_CLASS_TOKEN = Role("cls_token", (_matrix(CHANNELS, CHANNELS_BEFORE),), Each.LATER_LOOK, rows=1, needs=BY_GRID)

# The order of the file and of the kernels' tables. The roles of a block stand together.
ROLES = (
    CLASS_TOKEN,
    POSITIONS,
    PATCH,
    *(NORM1, QKV, PROJ, LS1, NORM2, FC1, FC2, LS2),
    FINAL_NORM,
    CLASSIFIER,
    CLASSIFIERS,
    LOOK_POSITIONS,
    LOOK_PATCH_SCALE,
    *(LOOK_LS1, LOOK_LS2, LOOK_GATE),
    *(FUSION, FUSION_DEPTHWISE, FUSION_PATCHES, FUSION_CLASS_TOKEN),
)
BLOCK_MATRICES = tuple(role for role in ROLES if role.has_matrix and role.each is Each.BLOCK)
BLOCK_NORMS = tuple(role for role in ROLES if role.parts is NORM and role.each is Each.BLOCK)
_BEFORE_BLOCKS = [role for role in ROLES[: ROLES.index(BLOCK_MATRICES[0])] if role.has_matrix]


def classifier(arch: Architecture) -> Role:
    """The role of the classifier. Where each k has its own, the role's index is k."""
    return CLASSIFIERS if arch.separate_classifiers else CLASSIFIER


def block_number(name: str) -> int | None:
    """The number of the block that a tensor of this name belongs to; None for a tensor outside the blocks."""
    return _index(Each.BLOCK.value, name)


def own_k(name: str) -> int | None:
    """The k whose own classifier's matrix has this name; None for any other name."""
    return _index(Each.K.value.format(name=CLASSIFIERS.name, index="{index}") + ".weight", name)


def _index(template: str, name: str) -> int | None:
    pattern = re.escape(template).replace(r"\{index\}", r"(\d{1,6})").replace(r"\{name\}", ".+")
    found = re.fullmatch(pattern, name)
    return int(found[1]) if found else None


def matrix_index(role: Role, block: int = 0) -> int:
    """The index of a role's matrix among all matrices, in the file and in the kernels' table.

    The patch embedding comes first, then the matrices of each block in the order of BLOCK_MATRICES.
    """
    if role.each is Each.BLOCK:
        return len(_BEFORE_BLOCKS) + block * len(BLOCK_MATRICES) + BLOCK_MATRICES.index(role)
    return _BEFORE_BLOCKS.index(role)


@lru_cache(maxsize=64)
def parameters_of(arch: Architecture) -> Mapping[str, Parameter]:
    """Every tensor of the network by timm's name, in the order of ROLES, block by block."""
    runs: list[list[Role]] = []
    for role in ROLES:
        if runs and role.each.by_block and runs[-1][0].each is role.each:
            runs[-1].append(role)
        else:
            runs.append([role])
    found = {}
    for run in runs:
        places = dict.fromkeys(i for role in run for i in role.indices(arch))
        for index in places:
            for role in run:
                if role.used(arch):
                    found.update({parameter.name: parameter for parameter in role.parameters(arch, index)})
    return found


def count(arch: Architecture, k: int) -> int:
    """Number of elements of all tensors of k heads."""
    return sum(prod(p.shape(k)) for p in parameters_of(arch).values() if p.only in (None, k))


def products(arch: Architecture, k: int) -> int:
    """Multiply-accumulates of all matrices for one picture with k heads, without the two products of attention."""
    return sum(
        Side(fixed=p.role.rows).length(arch, k) * prod(p.shape(k))
        for p in parameters_of(arch).values()
        if p.part.is_matrix and p.only in (None, k)
    )
