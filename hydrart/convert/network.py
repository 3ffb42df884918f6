"""The interface of the networks that hydrart trains."""

from abc import abstractmethod

from torch import Tensor, nn


class Network(nn.Module):
    """A network that hydrart trains.

    forward(x, k) takes x [B, 3, S, S], normalised, of the parameters' dtype. It returns logits, float32 [B, classes].
    """

    @abstractmethod
    def matrix(self, name: str, weight: Tensor, width: int) -> Tensor | None:
        """The part of a tensor that Muon updates, as a view [n, outputs, inputs]; None for a tensor of AdamW's.

        width: channels of the k that was drawn.
        """
