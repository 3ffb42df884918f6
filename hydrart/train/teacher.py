"""A trained network from whose answers a student learns."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hydrart.convert.nested_vit import NestedViT
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.writer import sha256
from hydrart.picture.classes import difference
from hydrart.train import convnet
from hydrart.train.recipe import TrainError
from hydrart.train.start import read_pretrained


class Teacher:
    """Classify pictures that are normalised for the student. A nested network answers with its largest k."""

    def __init__(self, path: Path, labels: list[str], student: Preprocessing) -> None:
        """Read the network. labels, student: of the student.

        Raises TrainError for other classes, CheckpointError or WeightFileError for a file of another kind.
        """
        self._model, self._k, classes, own, self.digest = _read(path)
        if other := difference(classes, labels):
            raise TrainError(
                f"{path} knows other classes than the pictures, {other}: a teacher must know the same in the same order"
            )
        self._size = own.size
        self._dtype = torch.float32
        # map the student's normalisation to the teacher's
        ratio = [a / b for a, b in zip(student.std, own.std, strict=True)]
        shift = [(a - b) / c for a, b, c in zip(student.mean, own.mean, own.std, strict=True)]
        self._ratio, self._shift = (torch.tensor(values).view(3, 1, 1) for values in (ratio, shift))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Teacher":
        """Move the network to the device, to compute in `dtype`."""
        self._model.to(device, dtype)
        self._ratio, self._shift = self._ratio.to(device), self._shift.to(device)
        self._dtype = dtype
        return self

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The log-probabilities, float32 [B, classes], of the student's input, float32 [B, 3, S, S]."""
        x = x * self._ratio + self._shift
        if x.shape[-1] != self._size:
            x = F.interpolate(x, (self._size, self._size), mode="bicubic", antialias=True)
        return F.log_softmax(self._model(x.to(self._dtype), self._k).float(), dim=1)


def _read(path: Path) -> tuple[nn.Module, int, list[str], Preprocessing, str]:
    """Returns the network, its number of heads, its classes, its preprocessing, and the SHA-256 of its file."""
    trained = convnet.read(path)
    if trained is not None:
        return trained.model, 1, trained.labels, trained.preprocessing, sha256(path)
    origin = read_pretrained(path)
    meta = origin.meta
    model = NestedViT(meta.architecture, origin.heads).requires_grad_(False)
    model.load_state_dict(origin.tensors)
    return model, meta.architecture.heads[-1], list(meta.labels), meta.preprocessing, origin.digest
