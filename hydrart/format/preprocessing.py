"""How pictures become inputs: the part of the metadata that `hydrart.picture` carries out."""

import math
from dataclasses import dataclass

INTERPOLATIONS = ("bicubic", "bilinear")

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become inputs. The weight file stores it.

    - size: height and width of the input, in pixels.
    - crop: share of the resized short side that the crop keeps (timm's crop_pct).
    - mean, std: per channel of the RGB picture, whose values are scaled to 0..1.
    - interpolation: "bicubic" or "bilinear", both antialiased.
    """

    size: int
    crop: float = 0.9
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bicubic"

    @property
    def resize(self) -> int:
        """Length of the short side after resizing, in pixels."""
        return math.floor(self.size / self.crop)
