"""Small random nested networks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hydrart.format.architecture import Architecture
from hydrart.format.metadata import Metadata
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.writer import write

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SMALL = Architecture(image_size=32, patch=8, depth=2, head_dim=16, heads=tuple(range(3, 13)), classes=10)

State = dict[str, NDArray[np.float32]]


def random_state(arch: Architecture, seed: int = 0) -> State:
    """Dense random weights of the largest network, in timm's names and shapes."""
    rng = np.random.default_rng(seed)
    p = arch.width(arch.heads[-1])
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, p),
        "pos_embed": (1, arch.tokens, p),
        "patch_embed.proj.weight": (p, arch.channels, arch.patch, arch.patch),
        "patch_embed.proj.bias": (p,),
        "norm.weight": (p,),
        "norm.bias": (p,),
    }
    for i in range(arch.depth):
        block = {
            "norm1.weight": (p,),
            "norm1.bias": (p,),
            "attn.qkv.weight": (3 * p, p),
            "attn.qkv.bias": (3 * p,),
            "attn.proj.weight": (p, p),
            "attn.proj.bias": (p,),
            "norm2.weight": (p,),
            "norm2.bias": (p,),
            "mlp.fc1.weight": (4 * p, p),
            "mlp.fc1.bias": (4 * p,),
            "mlp.fc2.weight": (p, 4 * p),
            "mlp.fc2.bias": (p,),
        }
        if arch.layer_scale:
            block |= {"ls1.gamma": (p,), "ls2.gamma": (p,)}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in block.items()}
    if arch.separate_classifiers:
        for k in arch.heads:
            shapes |= {f"heads.{k}.weight": (arch.classes, arch.width(k)), f"heads.{k}.bias": (arch.classes,)}
    else:
        shapes |= {"head.weight": (arch.classes, p), "head.bias": (arch.classes,)}
    state: State = {}
    for name, shape in shapes.items():
        fan_in = np.prod(shape[1:]) if len(shape) > 1 and "embed" not in name[:9] else 25.0
        values = rng.standard_normal(shape) / np.sqrt(fan_in)
        if ".norm" in name or name.startswith("norm"):
            values = values * 0.5 + name.endswith("weight")
        state[name] = values.astype(np.float32)
    return state


def make_file(path: Path, arch: Architecture = SMALL, precision: str = "fp32", seed: int = 0) -> Path:
    """Write a random network."""
    labels = CIFAR if arch.classes == len(CIFAR) else ()
    meta = Metadata(arch, precision, Preprocessing(arch.image_size, crop=1.0), labels, licence="none", source="made up")
    write(path, meta, random_state(arch, seed))
    return path
