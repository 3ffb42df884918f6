"""The reference's answers on networks of several shapes. Tests compare other engines with them."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from hydrart.engine import reference
from hydrart.format.architecture import Architecture
from hydrart.format.reader import WeightFile
from tests.support.networks import SMALL

FloatArray = NDArray[np.float32]

SHAPES = {
    "heads of 16": SMALL,
    "heads of 32": replace(SMALL, head_dim=32, depth=3, image_size=30, patch=6, classes=3),
    "one block": replace(SMALL, head_dim=64, depth=1, image_size=21, patch=7, heads=(2, 4)),
    "layer scale": replace(SMALL, layer_scale=True),
    "separate classifiers": replace(SMALL, separate_classifiers=True),
}


def installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


onnx_installed = pytest.mark.skipif(
    not installed("onnx", "onnxruntime"), reason="onnx and onnxruntime are not installed (extra: onnx)"
)


def pictures(arch: Architecture, batch: int = 1) -> FloatArray:
    shape = (batch, arch.channels, arch.image_size, arch.image_size)
    return np.random.default_rng(batch).standard_normal(shape).astype(np.float32)


def expected(file: WeightFile, x: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """Return the reference's logits and features."""
    arch, state = file.meta.architecture, dict(file.state(k))
    features = reference.features(state, arch, x, k)
    return reference.classify(state, arch, features, k), features


def close(got: FloatArray, wanted: FloatArray, bound: float = 1e-4) -> None:
    assert got.dtype == np.float32 and got.shape == wanted.shape
    assert np.abs(wanted).max() > 0.1, "the comparison would tell nothing of zeros"
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)
