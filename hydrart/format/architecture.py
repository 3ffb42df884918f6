"""The shape of a nested Vision Transformer: everything that decides which tensors it has, and how large they are."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

from hydrart.errors import HeadsError
from hydrart.format import roles

HEAD_DIMS = (16, 32, 64)


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

    Raises ValueError where the numbers do not fit together.
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

    @property
    def patches(self) -> int:
        """Number of patches of a picture."""
        return (self.image_size // self.patch) ** 2

    @property
    def tokens(self) -> int:
        """Number of tokens: the patches and the class token."""
        return self.patches + 1

    @property
    def patch_inputs(self) -> int:
        """Number of values in one patch: channels * patch * patch."""
        return self.channels * self.patch**2

    def width(self, k: int) -> int:
        """Channels of the residual stream with k heads: the embed_dim p."""
        return k * self.head_dim

    def check_k(self, k: int | None) -> int:
        """Return k, or the largest k for None. Raises HeadsError, which names the trained ks."""
        if k is None:
            return self.heads[-1]
        if isinstance(k, bool) or not isinstance(k, Integral):
            raise HeadsError(f"k={k!r:.40} was not trained: choose from {listing(self.heads)}, as an int")
        if k not in self.heads:
            raise HeadsError(f"k={k} was not trained: choose from {listing(self.heads)}")
        return int(k)

    def parameters(self, k: int) -> int:
        """Number of parameters of the network of k heads."""
        return roles.count(self, k)

    def macs(self, k: int) -> int:
        """Multiply-accumulates for one picture with k heads, in all matrices and in the two products of attention."""
        return roles.products(self, k) + self.depth * 2 * self.tokens**2 * self.width(k)


def listing(heads: Iterable[int]) -> str:
    """Write the ks for people: '3-12' for consecutive ones, '3, 6, 12' otherwise."""
    ks = list(heads)
    if len(ks) > 2 and ks == list(range(ks[0], ks[-1] + 1)):
        return f"{ks[0]}-{ks[-1]}"
    return ", ".join(map(str, ks))
