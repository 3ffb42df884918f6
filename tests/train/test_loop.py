"""train/loop.py: batches, gradients, averages, and trainings that go on after an interruption."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.training import place, recipe

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.train import loop as training  # noqa: E402
from hydrart.train.data import Pictures  # noqa: E402
from hydrart.train.optimizer import Optimizer  # noqa: E402
from hydrart.train.recipe import Recipe, TrainError  # noqa: E402
from hydrart.train.start import build  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def run(pictures: Pictures, wanted: Recipe, where: training.Place, resume: bool = False) -> dict[str, Any]:
    return training.train(pictures, wanted, build(wanted, 2), where, resume=resume)


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
    whole = run(pictures, wanted, place(tmp_path / "a.pth"))
    step = Optimizer.step
    calls = []

    def interrupted(self: Optimizer, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        step(self, *arguments)

    monkeypatch.setattr(Optimizer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(pictures, wanted, place(tmp_path / "b.pth", save_every=0))
    monkeypatch.undo()
    assert torch.load(tmp_path / "b.pth", weights_only=True)["step"] == 7
    with pytest.raises(TrainError, match="unfinished training"):
        run(pictures, wanted, place(tmp_path / "b.pth"))
    assert_equal(whole, run(pictures, wanted, place(tmp_path / "b.pth"), resume=True))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.pth", "b.pth"]


def test_the_number_of_threads_does_not_change_the_result(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SHARD", 3)
    one = run(pictures, recipe(), place(tmp_path / "a.pth"))
    assert_equal(one, run(pictures, recipe(), place(tmp_path / "b.pth", threads=3)))


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
    run(pictures, recipe(epochs=1), place(tmp_path / "a.pth"))
    with pytest.raises(TrainError, match="belongs to another recipe"):
        run(pictures, recipe(epochs=2), place(tmp_path / "a.pth"), resume=True)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04 nothing"])
def test_a_damaged_checkpoint_is_told(pictures: Pictures, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(TrainError, match="damaged"):
        run(pictures, recipe(), place(tmp_path / "a.pth"), resume=True)
    assert (tmp_path / "a.pth").read_bytes() == content


def test_ks_are_drawn_by_weight_and_every_picture_once_an_epoch(pictures: Pictures) -> None:
    plain = recipe(augment="crop", mixup=0.0)
    drawn = [batch for batch, _ in zip(training.batches(pictures, plain, 0), range(400), strict=False)]
    ks = [k for batch in drawn for k in batch.ks]
    assert len(ks) == len(drawn)
    assert set(ks) == {3, 6, 12}
    assert 0.42 < ks.count(12) / len(ks) < 0.58
    assert [int(torch.cat([batch.y for batch in drawn[i : i + 4]]).sum()) for i in (0, 4)] == [16, 16]


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


def test_averaged_weights_follow(pictures: Pictures) -> None:
    model = build(recipe(), 2)
    averages = training.Averages(model, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    before = averages.state["head.weight"].clone()
    averages.update(model, 1000)
    torch.testing.assert_close(averages.state["head.weight"], before + 0.5)
