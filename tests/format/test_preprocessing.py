"""format/preprocessing.py: timm's evaluation sizes."""

import pytest

from hydrart.format.preprocessing import Preprocessing


@pytest.mark.parametrize(("size", "crop", "resize"), [(224, 0.9, 248), (224, 0.875, 256), (32, 1.0, 32), (384, 1, 384)])
def test_the_short_side_before_the_crop(size: int, crop: float, resize: int) -> None:
    """As timm computes it: floor(size / crop_pct)."""
    assert Preprocessing(size, crop).resize == resize


def test_by_default_a_picture_is_normalised_as_imagenet_s() -> None:
    spec = Preprocessing(224)
    assert (spec.mean, spec.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (spec.crop, spec.interpolation) == (0.9, "bicubic")
