"""train/augmentation.py: crops, mirror images, RandAugment, mixup."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.train.augmentation import OPERATIONS, augment, crop_and_mirror, mixup, rand_augment  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_crops_and_mirror_images_keep_the_pixels() -> None:
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
    seen = [crop_and_mirror(x, np.random.default_rng(i), 1) for i in range(20)]
    assert all(y.shape == x.shape and y.dtype == torch.uint8 for y in seen)
    assert len({y.numpy().tobytes() for y in seen}) > 10
    still = [crop_and_mirror(x, np.random.default_rng(i), 0) for i in range(20)]
    mirrored = [sum(torch.equal(y[i], z) for y in still for z in (x[i], x[i].flip(2))) for i in (0, 1)]
    assert mirrored == [20, 20], "without padding a picture is itself or its mirror image"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_every_operation_of_rand_augment(operation: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 16, 16, generator=generator) * 200
    r = torch.tensor([0.7, -0.7, 0.4, -0.9]).expand(2, 4).reshape(2, 4, 1, 1, 1)
    y = operation(x, r)
    assert y.shape == x.shape and y.min() >= 0 and y.max() <= 255.01
    changed = (y - x).abs().amax((1, 2, 3)) > 1
    assert changed.all() != (operation.__name__ == "_identity")
    assert torch.equal(y, operation(x, r)), "nothing but r is random"


def test_rand_augment_treats_pictures_differently() -> None:
    x = torch.full((64, 3, 8, 8), 60.0)
    x[:, :, :, 4:] = 180
    y = rand_augment(x, np.random.default_rng(0))
    assert len({picture.numpy().tobytes() for picture in y}) > 40
    assert torch.equal(x[0], x[1]), "the input stays"
    assert torch.equal(y, rand_augment(x, np.random.default_rng(0)))


def test_augmentations_have_names() -> None:
    x = torch.full((3, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(augment(x, np.random.default_rng(0), "crop"), x.float())
    assert not torch.equal(augment(x, np.random.default_rng(0), "strong"), x.float())


def test_mixup_blends_with_the_other_end() -> None:
    x = torch.tensor([0.0, 10.0, 20.0]).view(3, 1, 1, 1)
    mixed, share = mixup(x, np.random.default_rng(0), 1.0)
    assert 0 < share < 1
    torch.testing.assert_close(mixed.flatten(), torch.tensor([20 * (1 - share), 10, 20 * share]))
    assert mixup(x, np.random.default_rng(0), 0.0) == (x, 1.0)
