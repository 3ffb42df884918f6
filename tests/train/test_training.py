"""The parts of the training tool: the loop and its resumption, augmentation, Muon, schedules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import make_colours

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.cli.progress import TrainingBar  # noqa: E402
from hydrart.convert.nested_vit import NestedViT  # noqa: E402
from hydrart.format.architecture import Architecture  # noqa: E402
from hydrart.format.preprocessing import Preprocessing  # noqa: E402
from hydrart.train import loop as training  # noqa: E402
from hydrart.train.augmentation import OPERATIONS, augment, crop_and_mirror, mixup, rand_augment  # noqa: E402
from hydrart.train.data import Pictures, read_folder  # noqa: E402
from hydrart.train.optimizer import Optimizer, orthogonal  # noqa: E402
from hydrart.train.recipe import Recipe, TrainError  # noqa: E402
from hydrart.train.start import build  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    root = make_colours(tmp_path_factory.mktemp("colours"))
    return read_folder(root / "train", Preprocessing(16, crop=1.0))


def recipe(**changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "heads": (3, 6, 12),
        "head_dim": 16,
        "depth": 1,
        "patch": 8,
        "image_size": 16,
        "epochs": 3,
        "batch": 8,
        "weights": (1.0, 1.0, 2.0),
        "augment": "strong",
        "mixup": 0.3,
        "seed": 5,
    }
    return Recipe(**(settings | changes))


def place(checkpoint: Path, threads: int = 1, save_every: float = 1e9) -> training.Place:
    return training.Place(checkpoint, torch.device("cpu"), threads, save_every)


def trained(pictures: Pictures, recipe: Recipe, place: training.Place, resume: bool = False) -> dict[str, Any]:
    return training.train(pictures, recipe, build(recipe, 2), place, resume=resume)


def assert_equal(a: Any, b: Any, where: str = "") -> None:
    """Of tensors, every bit."""
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            if key != "elapsed":
                assert_equal(a[key], b[key], f"{where}/{key}")
    else:
        assert a == b, where


@pytest.mark.parametrize("changes", [{"optimizer": "muon"}, {"optimizer": "adamw"}, {"networks": 3}], ids=str)
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    wanted = recipe(**changes)
    whole = trained(pictures, wanted, place(tmp_path / "a.pth"))
    step = Optimizer.step
    calls = []

    def interrupted(self: Optimizer, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(Optimizer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(pictures, wanted, place(tmp_path / "b.pth", save_every=0))
    monkeypatch.undo()
    assert torch.load(tmp_path / "b.pth", weights_only=True)["step"] == 7
    with pytest.raises(TrainError, match="unfinished training"):
        trained(pictures, wanted, place(tmp_path / "b.pth"))
    assert_equal(whole, trained(pictures, wanted, place(tmp_path / "b.pth"), resume=True))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pth", "b.pth"]


def test_the_number_of_threads_does_not_change_the_result(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SHARD", 3)
    one = trained(pictures, recipe(), place(tmp_path / "a.pth"))
    assert_equal(one, trained(pictures, recipe(), place(tmp_path / "b.pth", threads=3)))


def test_shards_add_up_to_the_gradient_of_the_batch(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe(clip=1e9)
    model = build(wanted, 2)
    batch = next(training.batches(pictures, wanted, 0))
    found = []
    for shard in (3, 8):
        monkeypatch.setattr(training, "SHARD", shard)
        with training.Gradients(model, wanted, None, place(tmp_path)) as gradients:
            loss = gradients(batch)
        found.append([loss, *(p.grad for p in model.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_another_recipe_does_not_resume(pictures: Pictures, tmp_path: Path) -> None:
    trained(pictures, recipe(epochs=1), place(tmp_path / "a.pth"))
    with pytest.raises(TrainError, match="belongs to another recipe"):
        trained(pictures, recipe(epochs=2), place(tmp_path / "a.pth"), resume=True)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 nothing"])
def test_a_damaged_checkpoint_is_told(pictures: Pictures, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(TrainError, match="damaged"):
        trained(pictures, recipe(), place(tmp_path / "a.pth"), resume=True)
    assert (tmp_path / "a.pth").read_bytes() == content


def test_ks_are_drawn_by_weight_and_every_picture_once_an_epoch(pictures: Pictures) -> None:
    plain = recipe(augment="crop", mixup=0.0)
    drawn = [batch for batch, _ in zip(training.batches(pictures, plain, 0), range(400), strict=False)]
    ks = [k for batch in drawn for k in batch.ks]
    assert len(ks) == len(drawn)
    assert set(ks) == {3, 6, 12}
    assert 0.42 < ks.count(12) / len(ks) < 0.58
    assert [int(torch.cat([batch.y for batch in drawn[i : i + 4]]).sum()) for i in (0, 4)] == [16, 16]


def test_a_sandwich_holds_both_ends_and_draws_between_by_weight(pictures: Pictures) -> None:
    wanted = recipe(heads=(3, 4, 5, 6, 12), weights=(1, 1, 3, 0, 9), networks=3)
    rng = np.random.default_rng(0)
    drawn = [wanted.draw(rng) for _ in range(400)]
    assert {(ks[0], ks[-1]) for ks in drawn} == {(12, 3)}
    between = [ks[1] for ks in drawn]
    assert set(between) == {4, 5} and 0.68 < between.count(5) / 400 < 0.82
    assert recipe(networks=2).draw(rng) == (12, 3)
    full = recipe(heads=(3, 4, 5, 6, 12), weights=(), networks=5)
    assert {full.draw(rng) for _ in range(20)} == {(12, 6, 5, 4, 3)}


def test_the_smaller_networks_of_a_step_learn_the_answers_of_the_largest(pictures: Pictures, tmp_path: Path) -> None:
    wanted = recipe(networks=2, mixup=0.0, distill=0.3, label_smoothing=0.0, clip=1e9)
    model = build(wanted, 2)
    with torch.no_grad():
        for parameter in model.parameters():  # so that the two differ in their answers
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) / 20)
    batch = next(training.batches(pictures, wanted, 0))
    with training.Gradients(model, wanted, None, place(tmp_path)) as gradients:
        loss = gradients(batch)
        x = (batch.x - gradients._mean) / gradients._std
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    large, small = model(x, 12), model(x, 3)
    entropy = torch.nn.functional.cross_entropy
    wish = torch.softmax(large.detach(), 1)
    by_hand = entropy(large, batch.y) + 0.7 * entropy(small, batch.y)
    by_hand = by_hand + 0.3 * (wish * (wish.log() - torch.log_softmax(small, 1))).sum(1).mean()
    by_hand = by_hand / 2
    assert loss == pytest.approx(by_hand.item(), rel=1e-4)
    for a, b in zip(found, torch.autograd.grad(by_hand, list(model.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_batches_do_not_depend_on_those_before(pictures: Pictures) -> None:
    first = [batch for batch, _ in zip(training.batches(pictures, recipe(), 0), range(6), strict=False)]
    later = next(training.batches(pictures, recipe(), 5))
    assert torch.equal(first[5].x, later.x) and first[5].ks == later.ks


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [recipe(lr=1.0, warmup=0.1).learning_rate(i / 100) for i in range(101)]
    assert np.argmax(rates) == 10 and rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.5, abs=0.01) and rates[100] == pytest.approx(0, abs=1e-9)


def test_where_nobody_watches_a_line_a_minute_tells_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with TrainingBar(100) as report:
        for position in range(1, 14):
            now[0] += 10
            report(position, position, 2.0)
    assert [line for line in capsys.readouterr().err.splitlines() if "left" in line] == [
        "step 7, loss 2.000, 18 minutes left"
    ]


def test_averaged_weights_follow(pictures: Pictures) -> None:
    model = build(recipe(), 2)
    averages = training.Averages(model, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    before = averages.state["head.weight"].clone()
    averages.update(model, 1000)
    torch.testing.assert_close(averages.state["head.weight"], before + 0.5)


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


def test_the_class_token_alone_passes_the_last_block() -> None:
    """What the last block computes of the other tokens reaches no classifier."""
    model = NestedViT(Architecture(image_size=16, patch=4, depth=2, head_dim=16, heads=(3, 4), classes=3))
    model.init_weights(torch.Generator().manual_seed(0))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = torch.randn(2, 17, 48, generator=torch.Generator().manual_seed(2))
        torch.testing.assert_close(model.block(1, tokens, 3, 1), model.block(1, tokens, 3, 17)[:, :1])
        assert model(x, 3).shape == (2, 3)
