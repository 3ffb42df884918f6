"""What the tests of hydrart bench share."""

import importlib.util

import pytest

from hydrart.bench.peers import PEERS
from hydrart.format.architecture import Architecture

SHAPE = "heads=1-3,head_dim=16,depth=2,image=16,patch=4,classes=7"
ARCH = Architecture(image_size=16, patch=4, depth=2, head_dim=16, heads=(1, 2, 3), classes=7)

_MODULES = {
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "onnxruntime", "openvino"),
    "torch": ("torch",),
}


def available() -> list[str]:
    """The peers that are installed."""
    return [name for name in PEERS if all(importlib.util.find_spec(module) for module in _MODULES[name])]


def needs(peer: str) -> None:
    """Skip the test where it is not."""
    if peer not in available():
        pytest.skip(f"{peer} is not installed (extra: {'train' if peer == 'torch' else 'bench'})")
