"""Pictures as OpenCV gives them."""

import numpy as np

from hydrart.picture.colour import Depth
from hydrart.source.opencv import to_rgb


def test_opencv_pictures_of_any_kind_become_rgb() -> None:
    bgr = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(to_rgb(bgr, Depth()), bgr[:, :, ::-1])
    bgra = np.concatenate((bgr, bgr[:, :, :1]), axis=2)
    np.testing.assert_array_equal(to_rgb(bgra, Depth()), bgr[:, :, ::-1])
    grey = bgr[:, :, 0]
    np.testing.assert_array_equal(to_rgb(grey, Depth()), np.stack((grey,) * 3, axis=2))
    np.testing.assert_array_equal(to_rgb(bgr.astype(np.uint16) << 8, Depth(16)), bgr[:, :, ::-1])
