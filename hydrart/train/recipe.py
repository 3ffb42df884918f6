"""The recipe: all that decides the outcome of a training, with its learning rate. It loads without PyTorch."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hydrart.errors import HydrartError
from hydrart.format.architecture import Architecture
from hydrart.format.precision import BF16, FP32
from hydrart.format.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

OPTIMIZERS = ("muon", "adamw")
AUGMENTATIONS = ("crop", "strong")
HEADS = tuple(range(3, 13))
SHAPE: dict[str, Any] = {"head_dim": 16, "depth": 6, "patch": 4, "image_size": 32}  # the defaults


class TrainError(HydrartError):
    """The training cannot start or go on."""


@dataclass(frozen=True)
class WantedShape:
    """The shape that the user wants. None: as in the network that the training starts from, else HEADS and SHAPE."""

    heads: tuple[int, ...] | None = None
    head_dim: int | None = None
    depth: int | None = None
    patch: int | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of a training. The checkpoint stores it, and a run resumes only with it.

    - heads: the ks to train. head_dim, depth, patch, image_size, separate_classifiers, layer_scale: as in Architecture.
    - epochs, hours: length of the run. One of them is given.
    - batch: pictures per step.
    - lr: peak learning rate. warmup: share of the run in which it rises.
    - weights: relative frequency of each k; empty for equal ones.
    - networks: number of ks that each step trains.
    - optimizer: "muon" or "adamw". weight_decay, betas, momentum: its settings.
    - label_smoothing, clip: of the loss, and of the gradient's norm.
    - ema: decay of the averaged weights.
    - augment: "crop" or "strong". mixup: alpha of its Beta distribution; 0 for none.
    - distill: share of the answers to learn from in the loss. The answers are the teacher's, or without a teacher those
      of the step's largest k.
    - init, teacher: SHA-256 of the files; "" for none.
    - precision: of the activations.
    - mean, std, crop_pct, interpolation: the preprocessing.
    """

    heads: tuple[int, ...]
    head_dim: int
    depth: int
    patch: int
    image_size: int
    epochs: int | None = None
    hours: float | None = None
    batch: int = 128
    lr: float = 2e-3
    weights: tuple[float, ...] = ()
    networks: int = 1
    seed: int = 0
    separate_classifiers: bool = False
    layer_scale: bool = False
    optimizer: str = "muon"
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    momentum: float = 0.95
    warmup: float = 0.05
    label_smoothing: float = 0.1
    clip: float = 1.0
    ema: float = 0.998
    augment: str = "crop"
    mixup: float = 0.0
    distill: float = 0.5
    init: str = ""
    teacher: str = ""
    precision: str = FP32.name
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    crop_pct: float = 1.0
    interpolation: str = "bicubic"

    def architecture(self, classes: int) -> Architecture:
        """The architecture of the network. Raises TrainError where the numbers do not fit together."""
        try:
            return Architecture(
                image_size=self.image_size,
                patch=self.patch,
                depth=self.depth,
                head_dim=self.head_dim,
                heads=self.heads,
                classes=classes,
                layer_scale=self.layer_scale,
                separate_classifiers=self.separate_classifiers,
            )
        except ValueError as error:
            raise TrainError(f"no network has this shape: {error}; change the flag of that name") from None

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing(self.image_size, self.crop_pct, self.mean, self.std, self.interpolation)

    @property
    def dtype(self) -> "torch.dtype":
        """The PyTorch type of the activations."""
        import torch

        return torch.bfloat16 if self.precision == BF16.name else torch.float32

    def draw(self, rng: "np.random.Generator") -> tuple[int, ...]:
        """Draw the ks of one step, the largest first.

        A single k is drawn from all. Several ks are the largest, the smallest, and others drawn between them: the
        sandwich rule (J. Yu, T. Huang, "Universally slimmable networks and improved training techniques", ICCV 2019).
        """
        if self.networks == 1:
            return (int(rng.choice(self.heads, p=self.shares)),)
        between: list[int] = []
        if self.networks > 2:
            shares = np.array(self.shares[1:-1])
            drawn = rng.choice(self.heads[1:-1], self.networks - 2, replace=False, p=shares / shares.sum())
            between = sorted(drawn.tolist(), reverse=True)
        return (self.heads[-1], *between, self.heads[0])

    @property
    def shares(self) -> tuple[float, ...]:
        """The probability of each k."""
        weights = self.weights or (1.0,) * len(self.heads)
        return tuple(weight / sum(weights) for weight in weights)

    def learning_rate(self, progress: float) -> float:
        """The learning rate: a linear warm-up, then a cosine to zero. progress: share of the run done, 0 to 1."""
        if progress < self.warmup:
            return self.lr * max(progress / self.warmup, 1e-3)
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - self.warmup) / (1 - self.warmup))))

    def entries(self) -> dict[str, Any]:
        """The recipe as plain values, for the checkpoint."""
        return asdict(self)
