"""Shapes and precisions for the tests of the weight file."""

from dataclasses import replace

import pytest

from hydrart.format.precision import PRECISIONS
from tests.support.networks import GRID_LOOKS, SMALL, TOKEN_LOOKS

ARCHITECTURES = {
    "small": SMALL,
    "wide": replace(SMALL, head_dim=64, depth=1, classes=37),
    "heads of 32, odd patch": replace(SMALL, head_dim=32, image_size=21, patch=7),
    "layer scale": replace(SMALL, layer_scale=True),
    "separate classifiers": replace(SMALL, separate_classifiers=True),
    "three sizes": replace(SMALL, heads=(3, 6, 12)),
    "one size": replace(SMALL, heads=(6,)),
    "looks that add tokens": TOKEN_LOOKS,
    "looks that grow": GRID_LOOKS,
}

architectures = pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
precisions = pytest.mark.parametrize("precision", PRECISIONS)
