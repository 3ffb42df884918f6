"""The beginning of the network, against the reference in float64: the embedding of patches."""

import numpy as np

from hydrart.engine import reference
from tests.support.driving import ARCH, Array, Parts, State, close


def test_embed(network: tuple[Parts, State, Array]) -> None:
    parts, state, _ = network
    parts.x[:] = np.nan
    parts.embed()
    pictures = parts._pictures.astype(np.float64)
    names = ("patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed")
    wanted = reference.embed(ARCH, pictures, *(state[name] for name in names))
    close(parts.x, wanted.reshape(-1, parts.p))
