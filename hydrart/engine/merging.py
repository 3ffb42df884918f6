"""Merge the most similar tokens of each picture, in NumPy: the oracle of the kernels.

Source: Bolya, Fu, Dai, Zhang, Feichtenhofer, Hoffman, "Token Merging: Your ViT But Faster", ICLR 2023.
"""

from typing import Any

import numpy as np

Array = Any  # a NumPy array of float32 or float64


def metric(x: Array, weight: Array, bias: Array, *, k: int) -> Array:
    """What tokens are compared by: the mean of their keys over the k heads, [B, N, p] -> [B, N, head_dim].

    weight: [3 * p, p], bias: [3 * p], in the order queries, keys, values.
    """
    key = x @ np.split(weight, 3)[1].T + np.split(bias, 3)[1]
    return key.reshape(*x.shape[:2], k, -1).mean(axis=2)


def match(metric: Array, r: int) -> tuple[Array, Array, Array]:
    """Choose the r even tokens to merge, and for each the odd token that it is merged into.

    metric: [B, N, head_dim]. Similarity is the cosine. Of equally similar tokens the first counts. Returns three arrays
    of numbers: the even tokens that stay, in their order, [B, E - r]; those that are merged [B, r]; and the partners of
    these [B, r]. Even tokens are counted among the even ones, partners among the odd ones.
    """
    length = np.sqrt((metric * metric).sum(axis=-1, keepdims=True))
    direction = metric / np.where(length > 0, length, 1)
    similarity = direction[:, ::2] @ direction[:, 1::2].swapaxes(-1, -2)
    partner = similarity.argmax(axis=-1)
    best = similarity.max(axis=-1)
    best[:, 0] = -np.inf  # the class token is never merged
    order = np.argsort(-best, axis=-1, kind="stable")
    merged, kept = order[:, :r], np.sort(order[:, r:], axis=-1)
    return kept, merged, np.take_along_axis(partner, merged, axis=-1)


def merge(x: Array, sizes: Array | None, metric: Array, r: int) -> tuple[Array, Array]:
    """Merge r tokens: [B, N, p] -> [B, N - r, p], and their new sizes [B, N - r].

    A merged token is the mean of its tokens, weighted by their sizes. The even tokens that stay come first, then the
    odd ones. sizes: how many tokens each token holds, [B, N]; None for one each. metric: [B, N, head_dim].
    """
    kept, merged, partner = match(metric, r)
    batch, tokens = x.shape[:2]
    sizes = np.ones((batch, tokens), x.dtype) if sizes is None else sizes
    every = np.arange(batch)[:, None]

    def join(values: Array) -> Array:
        """The sums of the values [B, N, channels] over the tokens that become one."""
        even, odd = values[:, ::2], values[:, 1::2].copy()
        np.add.at(odd, (every, partner), even[every, merged])
        return np.concatenate((even[every, kept], odd), axis=1)

    total = join(sizes[..., None])
    return join(x * sizes[..., None]) / total, total[..., 0]
