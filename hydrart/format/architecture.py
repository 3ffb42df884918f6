"""The shape of a nested Vision Transformer: everything that decides which tensors it has, and how large they are."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral

from hydrart.errors import HeadsError, SettingError
from hydrart.format import merging, roles
from hydrart.format.merging import Merge

HEAD_DIMS = (16, 32, 64)
FUSIONS = ("none", "tokens", "grid")


@dataclass(frozen=True)
class Look:
    """One look at a picture: a pass through the network, which ends in logits.

    - heads: how many heads it runs.
    - image_size: side of the picture that it takes, in pixels.
    """

    heads: int
    image_size: int


@dataclass(frozen=True)
class Architecture:
    """A HydraViT (NeurIPS 2024). The first k of its heads are a network with embed_dim p = k * head_dim.

    - image_size, patch: side of the input and of a patch, in pixels.
    - depth: number of blocks.
    - head_dim: channels of one head.
    - heads: the trained ks, ascending.
    - classes: number of classes.
    - channels: channels of the input.
    - layer_scale: whether each branch of a block is scaled per channel.
    - separate_classifiers: whether each k has its own classifier. Otherwise all ks use prefixes of one classifier.
    - layer_norm_eps: what LayerNorm adds to the variance.
    - looks: one Look for each k, in the order in which they run, where each takes up what the one before it found.
      Empty where each k answers alone.
    - fusion: what a later look takes from the tokens of the look before it. "none": nothing, the network has no looks.
      "tokens": each token is projected and added (ThinkingViT, CVPR 2026). "grid": the patches are also resampled to
      the grid of the new size, and gates scale the new look (ProgResViT, arXiv 2609.03216).

    A look whose size differs from image_size resamples the input. Raises ValueError where the numbers do not fit
    together.
    """

    image_size: int
    patch: int
    depth: int
    head_dim: int
    heads: tuple[int, ...]
    classes: int
    channels: int = 3
    layer_scale: bool = False
    separate_classifiers: bool = False
    layer_norm_eps: float = 1e-6
    looks: tuple[Look, ...] = ()
    fusion: str = "none"

    def __post_init__(self) -> None:
        ranges = {
            "image_size": 4096,
            "patch": self.image_size,
            "depth": 256,
            "classes": 1_000_000,
            "channels": 4,
        }
        for name, most in ranges.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"{name} is {value!r:.40}, not a whole number from 1 to {most}")
        if self.image_size % self.patch:
            raise ValueError(f"image_size {self.image_size} is no multiple of patch {self.patch}")
        if self.head_dim not in HEAD_DIMS:
            raise ValueError(f"head_dim is {self.head_dim!r}, not one of 16, 32, 64")
        if not self.heads or any(type(k) is not int or not 1 <= k <= 64 for k in self.heads):
            raise ValueError(f"heads are {list(self.heads)!r:.80}, not whole numbers from 1 to 64")
        if any(a >= b for a, b in zip(self.heads, self.heads[1:], strict=False)):
            raise ValueError(f"heads {list(self.heads)!r:.80} are not ascending")
        if not 0 < self.layer_norm_eps < 1:
            raise ValueError(f"layer_norm_eps is {self.layer_norm_eps!r:.40}, not between 0 and 1")
        self._check_looks()

    def _check_looks(self) -> None:
        if self.fusion not in FUSIONS:
            raise ValueError(f"fusion is {self.fusion!r:.40}, not one of {', '.join(FUSIONS)}")
        if (self.fusion == "none") != (not self.looks):
            raise ValueError(f"fusion is {self.fusion}, but the network has {len(self.looks) or 'no'} looks")
        if not self.looks:
            return
        if (found := tuple(look.heads for look in self.looks)) != self.heads:
            raise ValueError(f"its looks run {list(found)!r:.80} heads, its heads are {list(self.heads)!r:.80}")
        sizes = [look.image_size for look in self.looks]
        for number, size in enumerate(sizes):
            if type(size) is not int or not self.patch <= size <= self.image_size or size % self.patch:
                raise ValueError(
                    f"look {number} takes pictures of {size!r:.40} pixels, not of a multiple of patch {self.patch} up "
                    f"to {self.image_size}"
                )
        if sizes != sorted(sizes):
            raise ValueError(f"the sizes of its looks, {sizes!r:.80}, descend")
        if self.fusion == "tokens" and sizes[0] != sizes[-1]:
            raise ValueError(f"its looks add token to token, but their sizes differ: {sizes!r:.80}")
        if self.separate_classifiers:
            raise ValueError("its looks have separate classifiers, which no such network has")
        if self.fusion == "grid" and self.layer_scale:
            raise ValueError("its looks have scales of their own, and layer_scale besides")

    def patches(self, k: int) -> int:
        """Number of patches of a picture with k heads."""
        return self.grid(k) ** 2

    def tokens(self, k: int) -> int:
        """Number of tokens with k heads: the patches and the class token."""
        return self.patches(k) + 1

    def grid(self, k: int) -> int:
        """Number of patches along a side of a picture with k heads."""
        return self.size(k) // self.patch

    def size(self, k: int) -> int:
        """Side of the picture that k heads take, in pixels."""
        return next((look.image_size for look in self.looks if look.heads == k), self.image_size)

    @property
    def patch_inputs(self) -> int:
        """Number of values in one patch: channels * patch * patch."""
        return self.channels * self.patch**2

    def width(self, k: int) -> int:
        """Channels of the residual stream with k heads: the embed_dim p."""
        return k * self.head_dim

    def before(self, k: int) -> int:
        """The heads of the look before that of k heads; 0 for the first."""
        return max((look.heads for look in self.looks if look.heads < k), default=0)

    def width_before(self, k: int) -> int:
        """Channels of the look before that of k heads."""
        return self.width(self.before(k))

    def cut(self, heads: tuple[int, ...]) -> "Architecture":
        """The network with these ks alone. Of a network of looks, they are those of the first looks."""
        return replace(self, heads=heads, looks=tuple(look for look in self.looks if look.heads in heads))

    def check_k(self, k: int | None) -> int:
        """Return k, or the largest k for None. Raises HeadsError, which names the trained ks."""
        if k is None:
            return self.heads[-1]
        if isinstance(k, bool) or not isinstance(k, Integral):
            raise HeadsError(f"k={k!r:.40} was not trained: choose from {listing(self.heads)}, as an int")
        if k not in self.heads:
            raise HeadsError(f"k={k} was not trained: choose from {listing(self.heads)}")
        return int(k)

    def check_look(self, k: object = None, look: int | None = None) -> int:
        """The heads of a look, of the last one for None. Raises HeadsError, also where several looks meet a k."""
        count = len(self.looks) or 1
        if self.looks and k is not None:
            raise HeadsError(
                f"k={k!r:.40} cannot be chosen from a network of several looks: leave k out, or take logits() of look "
                f"0 to {count - 1}"
            )
        if look is None:
            return self.heads[-1]
        if isinstance(look, bool) or not isinstance(look, Integral) or not 0 <= look < count:
            raise HeadsError(f"there is no look={look!r:.40}: choose from 0 to {count - 1}, as an int")
        if k is not None:
            raise HeadsError(f"k={k!r:.40} and look={look} cannot both be chosen: leave one out")
        return self.looks[look].heads if self.looks else self.heads[-1]

    def parameters(self, k: int) -> int:
        """Number of parameters of the network of k heads; of a network of looks, that of this look alone."""
        return roles.count(self, k)

    def merges(self, k: int, merge: Merge = 0) -> tuple[int, ...]:
        """How many tokens each block merges with k heads; () if no block merges any. See merging.schedule.

        Raises SettingError, also where a network of several looks is to merge any.
        """
        if self.looks and merge:
            raise SettingError("a network of several looks merges no tokens: leave merge out")
        return merging.schedule(merge, self.tokens(k), self.depth)

    def macs(self, k: int, merge: Merge = 0) -> int:
        """Multiply-accumulates for one picture with k heads, in all matrices and in the two products of attention.

        Of a network of looks, they are those of this look alone. Those of the looks before it come on top. merge: how
        many tokens are merged, as Model.logits takes it. Raises SettingError.
        """
        tokens = self.tokens(k)
        whole = roles.products(self, k) + self.depth * 2 * tokens**2 * self.width(k)
        return whole - merging.saved(self, k, self.merges(k, merge), tokens)


def listing(heads: Iterable[int]) -> str:
    """Write the ks for people: '3-12' for consecutive ones, '3, 6, 12' otherwise."""
    ks = list(heads)
    if len(ks) > 2 and ks == list(range(ks[0], ks[-1] + 1)):
        return f"{ks[0]}-{ks[-1]}"
    return ", ".join(map(str, ks))
