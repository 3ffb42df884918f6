"""How many tokens each block merges, and the work that this saves.

Source: Bolya, Fu, Dai, Zhang, Feichtenhofer, Hoffman, "Token Merging: Your ViT But Faster", ICLR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from numbers import Integral
from typing import TYPE_CHECKING, Any

from hydrart.errors import SettingError
from hydrart.format.roles import FC1, FC2, PROJ, QKV, Role

if TYPE_CHECKING:
    from hydrart.format.architecture import Architecture

Merge = int | Sequence[int]  # r tokens in every block, or one r for each block


def schedule(merge: Merge, tokens: int, depth: int) -> tuple[int, ...]:
    """How many tokens each block merges, of a picture with so many tokens; () if no block merges any.

    merge: one r for every block, or one for each. A block merges at most half of its tokens: of t tokens, (t - 1) // 2.
    Where one r for every block is more than that in a later block, that block merges half, as in the paper.

    Raises SettingError where r is more than half of the picture's tokens, or where an r of its own is more than half of
    a block's tokens.
    """
    constant = isinstance(merge, Integral)
    counts: list[Any]
    if constant:
        counts = [merge] * depth
    elif isinstance(merge, Sequence) and not isinstance(merge, str | bytes) and len(merge) == depth:
        counts = list(merge)
    else:
        raise SettingError(
            f"merge={merge!r:.60} is no number of tokens: pass a whole number from 0, or one for each of the {depth} "
            "blocks"
        )
    found = []
    for block, r in enumerate(counts):
        if isinstance(r, bool) or not isinstance(r, Integral) or int(r) < 0:
            raise SettingError(f"merge={r!r:.40} is no number of tokens: pass a whole number from 0")
        most = (tokens - 1) // 2
        if int(r) > most and not (constant and block):
            raise SettingError(
                f"merge={r} is more than half of the {tokens} tokens of block {block}: pass at most {most}"
            )
        found.append(min(int(r), most))
        tokens -= found[-1]
    return tuple(found) if any(found) else ()


def saved(arch: Architecture, k: int, merges: Sequence[int], tokens: int) -> int:
    """Multiply-accumulates that merging saves for one picture: in the matrices of the blocks, and in attention."""

    def of_token(*roles: Role) -> int:
        parameters = [p for role in roles for p in role.parameters(arch, 0) if p.part.is_matrix]
        return sum(prod(p.shape(k)) for p in parameters)

    before, after = of_token(QKV, PROJ), of_token(FC1, FC2)
    total = 0
    now = tokens
    for r in merges:
        total += (tokens - now) * before + (tokens - now + r) * after
        total += 2 * (tokens**2 - now**2) * arch.width(k)
        now -= r
    return total
