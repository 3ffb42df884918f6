"""train/run.py alone: devices, precisions, shapes that contradict each other. tests/cli/test_train.py runs it whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.training import recipe

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")

from hydrart.train import run  # noqa: E402
from hydrart.train.data import Pictures, mean_and_std  # noqa: E402
from hydrart.train.recipe import HEADS, TrainError, WantedShape  # noqa: E402
from hydrart.train.start import Pretrained, read_pretrained  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def origin(trained: Path) -> Pretrained:
    """A trained network of 12 heads."""
    return read_pretrained(trained)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (False, True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert run.device_named("cpu").type == "cpu"
        assert run.device_named("auto").type == ("cuda" if there else "cpu")
    assert run.device_named("cuda").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainError, match="finds no CUDA GPU here: leave out --device cuda"):
        run.device_named("cuda")


def test_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for able, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=able: able)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert run.precision_on(cpu, "auto") == run.precision_on(gpu, "auto") == expected
        assert run.precision_on(cpu, "fp32") == "fp32" and run.precision_on(cpu, "bf16") == "bf16"


def test_a_new_network_has_the_usual_shape_where_no_other_is_wanted() -> None:
    shaped = run.shaped(recipe(weights=()), WantedShape(depth=2), None)
    assert (shaped.heads, shaped.head_dim, shaped.depth, shaped.patch, shaped.image_size) == (HEADS, 16, 2, 4, 32)


def test_a_trained_network_keeps_its_shape_and_its_preprocessing(origin: Pretrained, pictures: Pictures) -> None:
    arch, spec = origin.meta.architecture, origin.meta.preprocessing
    shaped = run.shaped(recipe(weights=(), crop_pct=0.5), WantedShape(heads=(3, 6)), origin)
    assert shaped.heads == (3, 6) and shaped.init == origin.digest
    assert (shaped.depth, shaped.patch, shaped.image_size) == (arch.depth, arch.patch, arch.image_size)
    assert shaped.crop_pct == spec.crop and shaped.layer_scale == arch.layer_scale
    kept = run.normalised(shaped, origin, pictures)
    assert (kept.mean, kept.std) == (spec.mean, spec.std)
    own = run.normalised(shaped, None, pictures)
    assert (own.mean, own.std) == mean_and_std(pictures.x)


@pytest.mark.parametrize(
    ("changes", "heads", "words"),
    [
        ({"weights": (1.0, 2.0)}, (3, 6, 12), "--weights names 2 numbers for 3 ks"),
        ({"weights": (), "networks": 2}, (6,), "--networks 2 is more than a step can train"),
        ({"weights": (1.0, 0.0, 1.0), "networks": 3}, (3, 6, 12), "0 that may be drawn"),
        ({"weights": ()}, (65,), "no network has this shape"),
    ],
)
def test_shapes_that_contradict_each_other(changes: dict[str, object], heads: tuple[int, ...], words: str) -> None:
    with pytest.raises(TrainError, match=words):
        run.shaped(replace(recipe(), **changes), WantedShape(heads=heads), None)  # type: ignore[arg-type]
