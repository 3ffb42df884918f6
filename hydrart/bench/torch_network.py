"""The network of k heads in plain PyTorch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.format.architecture import Architecture
from hydrart.format.roles import (
    CLASS_TOKEN,
    FC1,
    FC2,
    FINAL_NORM,
    NORM1,
    NORM2,
    PATCH,
    POSITIONS,
    PROJ,
    QKV,
    Role,
    classifier,
)


def network(
    torch: Any, state: Mapping[str, NDArray[np.float32]], arch: Architecture, k: int, all_tokens: bool
) -> Callable[[Any], Any]:
    """Make a function of tensors, float32 [B, C, H, W] -> logits [B, classes]. The weights are copied.

    - torch: the module.
    - state: of exactly k heads, from WeightFile.state(k).
    - all_tokens: whether the last block computes every token, or only the class token.
    """
    functional = torch.nn.functional
    linear, layer_norm = functional.linear, functional.layer_norm
    p = arch.width(k)

    def tensors(role: Role, index: int | None = None) -> list[Any]:
        """The role's tensors, multiplied by the layer scale."""
        found = [torch.tensor(state[name]) for name in role.names(index)]
        if scale := role.scale(arch):
            weight, bias = found
            (gamma,) = tensors(scale, index)
            found = [weight * gamma[:, None], bias * gamma]
        return found

    patches, last, classes = tensors(PATCH), tensors(FINAL_NORM), tensors(classifier(arch), k)
    (cls_token,), (positions,) = tensors(CLASS_TOKEN), tensors(POSITIONS)
    blocks = [[tensors(role, i) for role in (NORM1, QKV, PROJ, NORM2, FC1, FC2)] for i in range(arch.depth)]

    def norm(y: Any, parameters: list[Any]) -> Any:
        return layer_norm(y, (p,), *parameters, arch.layer_norm_eps)

    def forward(x: Any) -> Any:
        y = functional.conv2d(x, *patches, stride=arch.patch).flatten(2).transpose(1, 2)
        y = torch.cat((cls_token.expand(len(y), -1, -1), y), 1) + positions
        for i, (norm1, qkv, proj, norm2, fc1, fc2) in enumerate(blocks):
            q, key, value = linear(norm(y, norm1), *qkv).unflatten(-1, (3, k, arch.head_dim)).permute(2, 0, 3, 1, 4)
            if i == arch.depth - 1 and not all_tokens:  # only the class token is classified
                q, y = q[:, :, :1], y[:, :1]
            z = functional.scaled_dot_product_attention(q, key, value).transpose(1, 2).flatten(2)
            y = y + linear(z, *proj)
            y = y + linear(functional.gelu(linear(norm(y, norm2), *fc1)), *fc2)
        return linear(norm(y[:, 0], last), *classes)

    return forward
