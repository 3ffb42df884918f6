"""The optimizers: AdamW, and Muon for the matrices of the blocks.

Muon moves a matrix by the orthogonal factor of its gradient's momentum. Here it updates only the part of each matrix
that the drawn k uses. The rest keeps its momentum and does not decay. Queries, keys and values are orthogonalised one
by one.

Sources: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. The scale that makes AdamW's
learning rates fit is from J. Liu et al., "Muon is scalable for LLM training", 2025.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hydrart.convert.network import Network
from hydrart.train.recipe import Recipe

Run = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]  # such as map() of a pool


class Optimizer:
    """step() updates the parameters by their gradients. state_dict() and load_state_dict() save and restore it."""

    def __init__(self, model: Network, recipe: Recipe) -> None:
        named = dict(model.named_parameters())
        self._model, self._recipe = model, recipe
        muon = recipe.optimizer == "muon"
        self._muon = {name: p for name, p in named.items() if muon and model.matrix(name, p, 1) is not None}
        self._momentum = {name: torch.zeros_like(p) for name, p in self._muon.items()}
        rest = {name: p for name, p in named.items() if name not in self._muon}
        decayed = [p for n, p in rest.items() if p.ndim > 1 and n not in ("cls_token", "pos_embed")]
        ids = {id(p) for p in decayed}
        groups = [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": [p for p in rest.values() if id(p) not in ids], "weight_decay": 0.0},
        ]
        # AdamW decays its parameters in full at every step, also the slices without gradient for the drawn k.
        self._adamw = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=recipe.lr, betas=recipe.betas, fused=True
        )

    @torch.no_grad()
    def step(self, width: int, lr: float, run: Run = map) -> None:
        """One step of the network with `width` channels, from the parameters' .grad. `run` spreads the work."""
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        list(run(lambda name: self._orthogonal_step(name, width, lr), self._muon))

    @torch.no_grad()  # holds in the calling thread only
    def _orthogonal_step(self, name: str, width: int, lr: float) -> None:
        parameter = self._muon[name]
        weight = self._part(name, parameter, width)
        gradient = self._part(name, _gradient(parameter), width)
        momentum = self._part(name, self._momentum[name], width)
        momentum.mul_(self._recipe.momentum).add_(gradient)
        direction = orthogonal(gradient + self._recipe.momentum * momentum, self._recipe.dtype)
        weight.mul_(1 - lr * self._recipe.weight_decay)
        weight.sub_(direction, alpha=lr * 0.2 * max(weight.shape[1:]) ** 0.5)

    def _part(self, name: str, tensor: Tensor, width: int) -> Tensor:
        part = self._model.matrix(name, tensor, width)
        assert part is not None
        return part

    def state_dict(self) -> dict[str, Any]:
        return {"adamw": self._adamw.state_dict(), "momentum": self._momentum}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adamw.load_state_dict(state["adamw"])
        for name, momentum in state["momentum"].items():
            self._momentum[name].copy_(momentum)


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Approximate the nearest semi-orthogonal matrices of [n, rows, columns]. Singular values become 0.7 to 1.2.

    It makes five Newton-Schulz iterations with Jordan's coefficients, in `dtype`. bfloat16 is precise enough.
    """
    x = matrices.float()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = (x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)).to(dtype)
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.transpose(1, 2) if tall else x


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
