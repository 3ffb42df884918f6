"""convert/nested_vit.py: HydraViT in PyTorch."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.convert.nested_vit import NestedViT  # noqa: E402
from hydrart.format.architecture import Architecture  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_the_class_token_alone_passes_the_last_block() -> None:
    """What the last block computes of the other tokens reaches no classifier."""
    model = NestedViT(Architecture(image_size=16, patch=4, depth=2, head_dim=16, heads=(3, 4), classes=3))
    model.init_weights(torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = torch.randn(2, 17, 48, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(model.block(1, tokens, 3, 1), model.block(1, tokens, 3, 17)[:, :1])
        assert model(x, 3).shape == (2, 3)
