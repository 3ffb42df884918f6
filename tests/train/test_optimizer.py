"""train/optimizer.py: Muon."""

from pathlib import Path

import pytest

from tests.support.training import place, recipe

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.train import loop as training  # noqa: E402
from hydrart.train.data import Pictures  # noqa: E402
from hydrart.train.optimizer import Optimizer, orthogonal  # noqa: E402
from hydrart.train.start import build  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("shape", [(3, 48, 48), (1, 64, 16), (1, 16, 64)])
def test_orthogonalised_matrices_turn_without_stretching(shape: tuple[int, ...]) -> None:
    u, s, v = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    gradient = u @ torch.diag_embed(torch.linspace(5, 0.3, s.shape[1]).expand_as(s)) @ v
    turned = u.transpose(1, 2) @ orthogonal(gradient) @ v.transpose(1, 2)
    stretched = torch.diagonal(turned, dim1=1, dim2=2)
    assert (stretched > 0.6).all() and (stretched < 1.3).all()
    assert (turned - torch.diag_embed(stretched)).abs().max() < 1e-3, "the singular vectors stay"


def test_muon_moves_only_what_the_drawn_k_uses(pictures: Pictures, tmp_path: Path) -> None:
    wanted = recipe(heads=(3, 6), weights=())
    model = build(wanted, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = Optimizer(model, wanted)
    batch = training.Batch(torch.rand(8, 3, 16, 16) * 255, torch.arange(8) % 2, 1.0, (3,))
    with training.Gradients(model, wanted, None, place(tmp_path)) as gradients:
        gradients(batch)
        optimizer.step(3 * 16, 1e-2, gradients.run)
    for name, value in model.state_dict().items():
        part = model.matrix(name, value, 48)
        if part is None:
            continue
        moved = value != before[name]
        inside = model.matrix(name, moved, 48)
        assert inside is not None and inside.all() and moved.sum() == inside.sum(), name
