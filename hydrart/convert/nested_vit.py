"""HydraViT in PyTorch: one Vision Transformer whose first k heads are a network of their own.

Parameter names are timm's, so that timm and hydrart can read each other's checkpoints. Source: Haberer, Hojjat,
Landsiedel, "HydraViT: Stacking Heads for a Scalable ViT", NeurIPS 2024.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hydrart.convert.network import Network
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
    Each,
    Role,
    classifier,
    parameters_of,
)


class NestedViT(Network):
    """The whole network. `forward(x, k)` runs its first k heads.

    architecture: its shape. heads: the number of heads in its tensors; None for the largest k. Randomly initialised
    tensors are zeros until init_weights or load_state_dict.
    """

    def __init__(self, architecture: Architecture, heads: int | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        for name, parameter in parameters_of(architecture).items():
            *path, leaf = name.split(".")
            module: nn.Module = self
            for step in path:
                if step not in module._modules:
                    module.add_module(step, nn.Module())
                module = module.get_submodule(step)
            values = torch.full(parameter.shape(heads or architecture.heads[-1]), parameter.part.start)
            module.register_parameter(leaf, nn.Parameter(values))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """timm's initialisation of a ViT, drawn from `generator`."""
        known = parameters_of(self.architecture)
        for name, values in self.named_parameters():
            part, role = known[name].part, known[name].role
            if part.is_matrix and len(part.sides) > 2:  # the convolution of the patch embedding
                nn.init.trunc_normal_(values, std=values[0].numel() ** -0.5, generator=generator)
            elif part.is_matrix or role is POSITIONS:
                nn.init.trunc_normal_(values, std=0.02, generator=generator)
            else:
                values.fill_(part.start)

    def forward(self, x: Tensor, k: int) -> Tensor:
        """Run the first k heads. x: [B, channels, image_size, image_size], normalised, of the parameters' dtype.

        Returns logits, float32 [B, classes].
        """
        arch = self.architecture
        weight, bias = self._cut(PATCH, k)
        x = F.conv2d(x, weight, bias, stride=arch.patch).flatten(2).transpose(1, 2)
        (token,), (positions,) = self._cut(CLASS_TOKEN, k), self._cut(POSITIONS, k)
        x = torch.cat((token.expand(len(x), -1, -1), x), dim=1) + positions
        for i in range(arch.depth):
            x = self.block(i, x, k, x.shape[1] if i < arch.depth - 1 else 1)  # only the class token is classified
        weight, bias = (values.float() for values in self._cut(FINAL_NORM, k))
        x = F.layer_norm(x[:, 0].float(), (arch.width(k),), weight, bias, arch.layer_norm_eps)
        weight, bias = (values.float() for values in self._cut(classifier(arch), k, k))
        return F.linear(x, weight, bias)

    def block(self, i: int, x: Tensor, k: int, tokens: int) -> Tensor:
        """Block i: x [B, T, p] -> [B, tokens, p], the first `tokens` of the T tokens, which attend to all T."""
        y = _attention(self._norm(NORM1, i, x, k), *self._cut(QKV, k, i), k=k, queries=tokens)
        x = x[:, :tokens] + self._linear(PROJ, i, y, k)
        y = F.gelu(self._linear(FC1, i, self._norm(NORM2, i, x, k), k))
        return x + self._linear(FC2, i, y, k)

    def matrix(self, name: str, weight: Tensor, width: int) -> Tensor | None:
        """The part of a block's matrix that `width` channels use, as a view [n, outputs, inputs].

        n is 3 for queries, keys and values, else 1. None for a tensor that is no matrix of a block.
        """
        parameter = parameters_of(self.architecture)[name]
        if parameter.role.each is not Each.BLOCK or not parameter.part.is_matrix:
            return None
        view: Tensor = parameter.view(weight, width // self.architecture.head_dim)
        return view

    def _cut(self, role: Role, k: int, index: int | None = None) -> list[Tensor]:
        """The parts of the role's tensors that k heads use."""
        known = parameters_of(self.architecture)
        return [known[name].cut(self.get_parameter(name), k) for name in role.names(index)]

    def _norm(self, role: Role, i: int, x: Tensor, k: int) -> Tensor:
        weight, bias = self._cut(role, k, i)
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.architecture.layer_norm_eps)

    def _linear(self, role: Role, i: int, x: Tensor, k: int) -> Tensor:
        y = F.linear(x, *self._cut(role, k, i))
        if scale := role.scale(self.architecture):
            y = y * self._cut(scale, k, i)[0]
        return y


def _attention(x: Tensor, weight: Tensor, bias: Tensor, *, k: int, queries: int) -> Tensor:
    """Attention of the first `queries` tokens to all tokens.

    x: [B, T, p]; weight: [3 * p, p]; bias: [3 * p]. Returns [B, queries, p].
    """
    batch, tokens, p = x.shape
    if queries == tokens:
        qkv = F.linear(x, weight, bias).view(batch, tokens, 3, k, p // k)
        q, key, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, batch * k, tokens, p // k)
    else:
        q = F.linear(x[:, :queries], weight[:p], bias[:p]).view(batch, queries, k, p // k)
        q = q.transpose(1, 2).reshape(batch * k, queries, p // k)
        kv = F.linear(x, weight[p:], bias[p:]).view(batch, tokens, 2, k, p // k)
        key, v = kv.permute(2, 0, 3, 1, 4).reshape(2, batch * k, tokens, p // k)
    # On a CPU, training is faster through bmm, softmax and bmm than through scaled_dot_product_attention.
    scores = torch.bmm(q * (p // k) ** -0.5, key.transpose(1, 2))
    y = torch.bmm(scores.softmax(dim=-1), v)
    return y.view(batch, k, queries, p // k).transpose(1, 2).reshape(batch, queries, p)
