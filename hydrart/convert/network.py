"""What the training must know of a network beyond its parameters."""

from abc import abstractmethod

from torch import Tensor, nn


class Network(nn.Module):
    """forward(x, k): x [B, 3, S, S], normalised, of the parameters' dtype -> logits float32 [B, classes]."""

    @abstractmethod
    def matrix(self, name: str, weight: Tensor, width: int) -> Tensor | None:
        """The part of a tensor that Muon moves, as a view [n, outputs, inputs]; None for what is AdamW's.

        width: channels of the network that was drawn.
        """
