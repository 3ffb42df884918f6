"""Train a nested Vision Transformer on a folder of pictures and write a hydrart weight file.

The folder holds train/CLASS/* and test/CLASS/*, pictures of any size. Each step draws a number of heads k and trains
the first k heads (HydraViT, NeurIPS 2024).
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hydrart.bench.evaluate import Evaluation
from hydrart.convert.checkpoint import HUB_WEIGHTS
from hydrart.format.architecture import listing
from hydrart.format.precision import BF16, FP32
from hydrart.format.preprocessing import Preprocessing
from hydrart.targets import refuse_inputs
from hydrart.train.data import Pictures, folders_of, mean_and_std, read_pictures
from hydrart.train.loop import Place, fitted, make_folder, train
from hydrart.train.recipe import HEADS, SHAPE, Recipe, TrainError, WantedShape
from hydrart.train.start import Pretrained, adopt, build
from hydrart.train.teacher import Teacher
from hydrart.train.weight_file import write_measured


@dataclass(frozen=True)
class Files:
    """The files that a training reads and writes.

    - data: folder of train/ and test/.
    - output: the weight file.
    - init, teacher: networks to start from and to learn from.
    - dataset: name of the test pictures.
    - licence: of the weights.
    """

    data: Path
    output: Path
    init: Path | None = None
    teacher: Path | None = None
    dataset: str | None = None
    licence: str = "unknown"


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training: the number of classes, and the measurements on the test pictures."""

    classes: int
    evaluation: Evaluation


def device_named(name: str) -> torch.device:
    """The device of this name: "cpu", "cuda", or "auto" for a GPU if there is one.

    Raises TrainError for "cuda" without a GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainError("PyTorch finds no CUDA GPU here: leave out --device cuda, or install a PyTorch that knows it")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def precision_on(device: torch.device, name: str) -> str:
    """The precision of the activations. "auto" is bf16 where the device computes in it, else fp32."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return BF16.name if torch.cuda.is_bf16_supported() else FP32.name
    return BF16.name if torch.cpu._is_avx512_bf16_supported() else FP32.name


def shaped(recipe: Recipe, wanted: WantedShape, origin: Pretrained | None) -> Recipe:
    """The recipe with the wanted shape. Raises TrainError for options that contradict each other."""
    usual: dict[str, Any] = {"heads": HEADS} | SHAPE
    if origin is not None:
        arch, spec = origin.meta.architecture, origin.meta.preprocessing
        usual = {name: getattr(arch, name) for name in usual}
        recipe = replace(recipe, layer_scale=arch.layer_scale, init=origin.digest)
        recipe = replace(recipe, crop_pct=spec.crop, interpolation=spec.interpolation)
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    recipe = replace(recipe, **usual | given)
    if recipe.weights and len(recipe.weights) != len(recipe.heads):
        raise TrainError(
            f"--weights names {len(recipe.weights)} numbers for {len(recipe.heads)} ks ({listing(recipe.heads)}): "
            "give one each"
        )
    drawn = sum(share > 0 for share in recipe.shares[1:-1])
    if recipe.networks > 1 and (len(recipe.heads) == 1 or recipe.networks > 2 + drawn):
        raise TrainError(
            f"--networks {recipe.networks} is more than a step can train: both ends of the ks and, between them, "
            f"{drawn} that may be drawn; give a smaller number, or 1"
        )
    recipe.architecture(2)
    return recipe


def normalised(recipe: Recipe, origin: Pretrained | None, pictures: Pictures) -> Recipe:
    """The recipe with the mean and std of the origin, or without an origin those of the pictures."""
    if origin is not None:
        spec = origin.meta.preprocessing
        return replace(recipe, mean=spec.mean, std=spec.std)
    mean, std = mean_and_std(pictures.x)
    return replace(recipe, mean=mean, std=std)


def train_and_test(
    files: Files, recipe: Recipe, place: Place, origin: Pretrained | None = None, resume: bool = False
) -> TrainingResult:
    """Read the pictures, train, write the weight file, and measure it on the test pictures. Raises HydrartError."""
    for target in (files.output, place.checkpoint):
        refuse_inputs(target, (files.init, files.init and files.init / HUB_WEIGHTS, files.teacher), TrainError)
    make_folder(place.checkpoint.parent)
    folders, _ = folders_of(files.data)
    spec = Preprocessing(recipe.image_size, recipe.crop_pct, interpolation=recipe.interpolation)
    pictures = read_pictures(files.data / "train", folders, spec, place.threads, place.progress)
    recipe = fitted(normalised(recipe, origin, pictures), len(pictures.y), place.progress)
    teacher = None
    if files.teacher:
        teacher = Teacher(files.teacher, pictures.labels, recipe.preprocessing).to(place.device, recipe.dtype)
        recipe = replace(recipe, teacher=teacher.digest)
    model = build(recipe, len(pictures.labels))
    for note in adopt(model, origin, recipe, pictures.labels) if origin else []:
        place.progress.note(f"note: {note}")
    result = train(pictures, recipe, model, place, teacher, resume)
    earlier = origin.meta.history if origin else ()
    evaluation = write_measured(
        result["state_dict_ema"],
        recipe.architecture(len(pictures.labels)),
        recipe.preprocessing,
        pictures.labels,
        dataset=files.dataset or f"{files.data.resolve().name}/test",
        checkpoint=place.checkpoint,
        test=files.data / "test",
        output=files.output,
        licence=files.licence,
        history=(*earlier, _entry(files, recipe, result)),
        threads=place.threads,
        progress=place.progress,
    )
    return TrainingResult(len(pictures.labels), evaluation)


def _entry(files: Files, recipe: Recipe, result: dict[str, Any]) -> dict[str, str | int | float]:
    """The entry of this training in the weight file's history."""
    entry: dict[str, str | int | float] = {
        "data": f"{files.data.resolve().name}/train",
        "pictures": result["pictures"],
        "steps": result["step"],
        "epochs": round(result["step"] * recipe.batch / result["pictures"], 2),
        "batch": recipe.batch,
        "optimizer": recipe.optimizer,
        "lr": recipe.lr,
        "weight_decay": recipe.weight_decay,
        "augment": recipe.augment,
        "mixup": recipe.mixup,
        "ema": recipe.ema,
        "shares": ", ".join(f"{share:.3g}" for share in recipe.shares),
        "networks": recipe.networks,
        "seed": recipe.seed,
        "precision": recipe.precision,
        "torch": torch.__version__,
    }
    if files.init:
        entry |= {"init": files.init.name, "init_sha256": recipe.init}
    if files.teacher:
        entry |= {"teacher": files.teacher.name, "teacher_sha256": recipe.teacher, "distill": recipe.distill}
    return entry
