"""Merging of tokens in PyTorch, written from the paper alone (Bolya et al., ICLR 2023), one picture at a time.

It shares no code with hydrart. It lists the tokens that become one, and averages each list.
"""

import torch
from torch import Tensor


def groups(keys: Tensor, r: int) -> tuple[list[list[int]], float]:
    """Return which tokens become one, in the order in which they are left, and how far the choice is from a tie.

    keys: [heads, tokens, channels] of one picture.
    """
    mean = keys.mean(0)
    tokens = len(mean)
    first, second = list(range(0, tokens, 2)), list(range(1, tokens, 2))
    edges, gaps = [], [float("inf")]
    for a in first[1:]:  # the class token, number 0, has no edge
        similar = sorted(((float(torch.cosine_similarity(mean[a], mean[b], dim=0)), b) for b in second), reverse=True)
        gap = similar[0][0] - similar[1][0] if len(similar) > 1 else float("inf")
        edges.append((similar[0][0], a, similar[0][1], gap))
    edges.sort(reverse=True)
    if 0 < r < len(edges):
        gaps.append(edges[r - 1][0] - edges[r][0])
    gaps += [gap for *_, gap in edges[:r]]
    joined = {a: b for _, a, b, _ in edges[:r]}
    left = [[a] for a in first if a not in joined]
    return left + [[b, *(a for a in joined if joined[a] == b)] for b in second], min(gaps)


def merge(x: Tensor, sizes: Tensor, keys: Tensor, r: int) -> tuple[Tensor, Tensor, float]:
    """Merge r tokens of one picture: x [tokens, p], sizes [tokens]. Return both, and how far it is from a tie."""
    lists, gap = groups(keys, r)
    new_sizes = torch.stack([sizes[each].sum() for each in lists])
    rows = [(x[each] * sizes[each, None]).sum(0) / sizes[each].sum() for each in lists]
    return torch.stack(rows), new_sizes, gap
