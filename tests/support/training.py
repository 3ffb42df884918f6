"""A recipe for the invented data set, a folder for training, and runs of the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydrart.format.metadata import Metadata
from hydrart.format.reader import WeightFile
from hydrart.train.recipe import Recipe
from tests.support.commands import good, json_lines
from tests.support.json_page import check

if TYPE_CHECKING:
    from hydrart.train.loop import Place


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


def place(checkpoint: Path, threads: int = 1, save_every: float = 1e9) -> "Place":
    import torch

    from hydrart.train.loop import Place

    return Place(checkpoint, torch.device("cpu"), threads, save_every)


def meta_of(*arguments: Any) -> Metadata:
    """Train, and return the metadata of the file."""
    check("hydrart train", json_lines(good("train", *arguments, "--json").stdout))
    return WeightFile(arguments[arguments.index("-o") + 1]).meta
