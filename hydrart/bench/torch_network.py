"""The network of k heads in plain PyTorch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.format.architecture import Architecture


def network(
    torch: Any, state: Mapping[str, NDArray[np.float32]], arch: Architecture, k: int, all_tokens: bool
) -> Callable[[Any], Any]:
    """A function of tensors: float32 [B, C, H, W] -> [B, classes]; the weights are copied.

    torch: the module; state: as WeightFile.state(k) gives it, of exactly k heads; all_tokens: whether the last block
    computes every token, or only the class token.
    """
    functional = torch.nn.functional
    linear, layer_norm = functional.linear, functional.layer_norm
    p = arch.width(k)

    def layer(name: str, layer_scale: str = "") -> tuple[Any, Any]:
        weight, bias = torch.tensor(state[f"{name}.weight"]), torch.tensor(state[f"{name}.bias"])
        if layer_scale and arch.layer_scale:
            gamma = torch.tensor(state[f"{layer_scale}.gamma"])
            weight, bias = weight * gamma[:, None], bias * gamma
        return weight, bias

    patches = layer("patch_embed.proj")
    cls_token, positions = torch.tensor(state["cls_token"]), torch.tensor(state["pos_embed"])
    blocks = [
        (
            layer(f"blocks.{i}.norm1"),
            layer(f"blocks.{i}.attn.qkv"),
            layer(f"blocks.{i}.attn.proj", f"blocks.{i}.ls1"),
            layer(f"blocks.{i}.norm2"),
            layer(f"blocks.{i}.mlp.fc1"),
            layer(f"blocks.{i}.mlp.fc2", f"blocks.{i}.ls2"),
        )
        for i in range(arch.depth)
    ]
    last = layer("norm")
    classifier = layer(f"heads.{k}" if arch.separate_classifiers else "head")

    def norm(y: Any, parameters: tuple[Any, Any]) -> Any:
        return layer_norm(y, (p,), *parameters, arch.layer_norm_eps)

    def forward(x: Any) -> Any:
        y = functional.conv2d(x, *patches, stride=arch.patch).flatten(2).transpose(1, 2)
        y = torch.cat((cls_token.expand(len(y), -1, -1), y), 1) + positions
        for i, (norm1, qkv, proj, norm2, fc1, fc2) in enumerate(blocks):
            q, key, value = linear(norm(y, norm1), *qkv).unflatten(-1, (3, k, arch.head_dim)).permute(2, 0, 3, 1, 4)
            if i == arch.depth - 1 and not all_tokens:  # only the class token is read
                q, y = q[:, :, :1], y[:, :1]
            z = functional.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(2)
            y = y + linear(z, *proj)
            y = y + linear(functional.gelu(linear(norm(y, norm2), *fc1)), *fc2)
        return linear(norm(y[:, 0], last), *classifier)

    return forward
