"""The training loop: batches, gradients, averaged weights, checkpoints.

Every random choice depends only on the seed and the step. A batch is always cut into the same shards, and their
gradients are always added in the same order. So an interrupted run, or one with another number of threads, ends with
the same bits. This holds on one CPU model, and where the length of the run is given in epochs.
"""

import copy
import itertools
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hydrart.convert.network import Network
from hydrart.convert.parity import one_thread
from hydrart.targets import replacing
from hydrart.train.augmentation import augment, mixup
from hydrart.train.data import Pictures
from hydrart.train.optimizer import Optimizer
from hydrart.train.progress import SILENT, Progress
from hydrart.train.recipe import Recipe, TrainError
from hydrart.train.teacher import Teacher

SHARD = 64  # number of pictures whose gradient a CPU thread computes at a time


@dataclass(frozen=True)
class Batch:
    """The input of one step.

    - x: pictures, float32 [B, 3, S, S], 0 to 255. y: their classes, int64 [B].
    - share: what mixup leaves of each picture, 0 to 1.
    - ks: the networks to train, the largest first.
    """

    x: Tensor
    y: Tensor
    share: float
    ks: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """Where and how a training runs. None of this changes the result on a CPU.

    - checkpoint: the file that the training goes on from after an interruption.
    - device, threads: where it computes.
    - save_every: seconds between checkpoints.
    - progress: receives the progress of the training.
    """

    checkpoint: Path
    device: torch.device
    threads: int
    save_every: float = 120.0
    progress: Progress = SILENT


def fitted(recipe: Recipe, pictures: int, progress: Progress) -> Recipe:
    """The recipe with a batch of at most `pictures` pictures. If the batch shrinks, the progress gets a note."""
    if pictures >= recipe.batch:
        return recipe
    progress.note(f"note: {pictures} pictures fill no batch of {recipe.batch}: the batch is {pictures}")
    return replace(recipe, batch=pictures)


def batches(data: Pictures, recipe: Recipe, start: int) -> Iterator[Batch]:
    """The batches from step `start` on, without end. The recipe must fit the pictures (see fitted)."""
    per_epoch = len(data.y) // recipe.batch
    for step in itertools.count(start):
        epoch, at = divmod(step, per_epoch)
        if at == 0 or step == start:
            order = np.random.default_rng((recipe.seed, 0, epoch)).permutation(len(data.y))
        rng = np.random.default_rng((recipe.seed, 1, step))
        pick = torch.from_numpy(order[at * recipe.batch : (at + 1) * recipe.batch]).to(data.y.device)
        x, share = mixup(augment(data.x[pick], rng, recipe.augment), rng, recipe.mixup)
        yield Batch(x, data.y[pick], share, recipe.draw(rng))


class Averages:
    """An exponential moving average of the weights. It is shorter in the first steps, to forget the initial weights."""

    def __init__(self, model: Network, decay: float) -> None:
        self.state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self._decay = decay

    def update(self, model: Network, step: int) -> None:
        decay = min(self._decay, (1 + step) / (10 + step))
        own, new = list(self.state.values()), list(model.state_dict().values())
        torch._foreach_lerp_(own, new, 1 - decay)


class Gradients:
    """Compute a batch's gradients shard by shard, on several threads.

    PyTorch's own threads synchronise after every small operation, and wait for each other on a busy machine. Whole
    shards synchronise once a step.
    """

    def __init__(self, model: Network, recipe: Recipe, teacher: Teacher | None, place: Place) -> None:
        self._recipe, self._teacher = recipe, teacher
        self._parameters: list[Tensor] = list(model.parameters())
        # this copy computes; its weights are the model's, rounded once a step
        self._model = copy.deepcopy(model).to(recipe.dtype)
        self._rounded: list[Tensor] = list(self._model.parameters())
        self._mean, self._std = (
            torch.tensor(values, device=place.device).view(3, 1, 1) * 255 for values in (recipe.mean, recipe.std)
        )
        self._shard = SHARD if place.device.type == "cpu" else recipe.batch
        self._pool = ThreadPoolExecutor(place.threads)

    def __enter__(self) -> "Gradients":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def submit(self, function: Callable[[Any], Any], argument: Any) -> "Future[Any]":
        """Make one call on one of the threads."""
        return self._pool.submit(function, argument)

    def run(self, function: Callable[[Any], Any], arguments: Any) -> Any:
        """Like map(), on the threads."""
        return self._pool.map(function, arguments)

    def __call__(self, batch: Batch) -> float:
        """Put the clipped gradient of the mean loss into the parameters' .grad. Returns the loss."""
        with torch.no_grad():
            torch._foreach_copy_(self._rounded, self._parameters)
        x = (batch.x - self._mean) / self._std
        other = batch.y.flip(0)  # the classes of the pictures that mixup blended in
        shards = zip(*(torch.split(values, self._shard) for values in (x, batch.y, other)), strict=True)
        results = list(self.run(lambda shard: self._shard_gradient(shard, batch), list(shards)))
        for parameter, *gradients in zip(self._parameters, *(gradient for _, gradient in results), strict=True):
            # zeros, not None, for weights that no drawn k uses, so that AdamW continues with its momentum
            parameter.grad = torch.zeros_like(parameter)
            for gradient in gradients:
                if gradient is not None:
                    parameter.grad.add_(gradient)
        torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        return math.fsum(loss for loss, _ in results)

    def _shard_gradient(self, shard: tuple[Tensor, ...], batch: Batch) -> tuple[float, tuple[Tensor | None, ...]]:
        recipe = self._recipe
        x, y, other = shard
        wanted = None if self._teacher is None else self._teacher(x)
        total = torch.zeros((), device=x.device)
        for k in batch.ks:
            logits = self._model(x.to(recipe.dtype), k)
            loss = self._cross_entropy(logits, y) * batch.share
            if batch.share < 1:
                loss = loss + self._cross_entropy(logits, other) * (1 - batch.share)
            answers = F.log_softmax(logits, dim=1)
            if wanted is None:
                wanted = answers.detach()  # the smaller ks learn the answers of the largest
            else:
                divergence = F.kl_div(answers, wanted, reduction="sum", log_target=True)
                loss = (1 - recipe.distill) * loss + recipe.distill * divergence
            total = total + loss
        loss = total / (len(batch.y) * len(batch.ks))
        gradients = torch.autograd.grad(loss, self._rounded, allow_unused=True)
        return float(loss.detach()), gradients

    def _cross_entropy(self, logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, label_smoothing=self._recipe.label_smoothing, reduction="sum")


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read the checkpoint of an interrupted run; None where there is none. Raises TrainError."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise TrainError(f"{path} cannot be read as a checkpoint: it is damaged; remove it") from error
    if not isinstance(state, dict) or not {"recipe", "optimizer", "state_dict_ema", "elapsed"} <= set(state):
        raise TrainError(f"{path} is no checkpoint of hydrart train: give another --output")
    return state


def make_folder(folder: Path) -> None:
    """Make the folder of an output before the work begins. Raises TrainError where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainError(f"{folder} cannot be made ({error.strerror}): give another --output") from error
    if not os.access(folder, os.W_OK):
        raise TrainError(f"{folder} cannot be written to: give another --output")


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint. If that is interrupted, the previous one stays whole. Raises TrainError."""
    try:
        with replacing(path) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises RuntimeError
        raise TrainError(f"{path} cannot be written: make room in its folder, and go on with --resume") from error


def train(
    data: Pictures, recipe: Recipe, model: Network, place: Place, teacher: Teacher | None = None, resume: bool = False
) -> dict[str, Any]:
    """Run the recipe from `model`'s weights, or resume from the checkpoint. Returns the last checkpoint's content.

    The checkpoint holds the weights, their averages (state_dict_ema), the optimizer's state, the step, and the seconds
    so far. Raises TrainError.
    """
    before = load_checkpoint(place.checkpoint)
    started = time.monotonic()
    model.to(place.device)
    step, average = 0, Averages(model, recipe.ema)
    optimizer = Optimizer(model, recipe)
    if before is not None and not resume and not before["finished"]:
        raise TrainError(f"{place.checkpoint} is an unfinished training: go on with --resume, or remove it")
    if before is not None and resume:
        if before["recipe"] != recipe.entries() or before["labels"] != data.labels or before["pictures"] != len(data.y):
            raise TrainError(
                f"{place.checkpoint} belongs to another recipe or other pictures: give its flags, or remove it"
            )
        model.load_state_dict(before["state_dict"])
        optimizer.load_state_dict(before["optimizer"])
        average.state = before["state_dict_ema"]
        step = before["step"]
        started -= before["elapsed"]
    steps = len(data.y) // recipe.batch * recipe.epochs if recipe.epochs else 0
    average.state = {name: tensor.to(place.device) for name, tensor in average.state.items()}
    data = Pictures(data.x.to(place.device), data.y.to(place.device), data.labels)

    def elapsed() -> float:
        return time.monotonic() - started

    def progress() -> float:
        return step / steps if steps else elapsed() / (3600 * (recipe.hours or 1))

    def state(finished: bool) -> dict[str, Any]:
        return {
            "arch": "hydravit",
            "state_dict": model.state_dict(),
            "state_dict_ema": average.state,
            "optimizer": optimizer.state_dict(),
            "step": step,
            "elapsed": elapsed(),
            "finished": finished,
            "recipe": recipe.entries(),
            "labels": data.labels,
            "pictures": len(data.y),
        }

    with ExitStack() as stack:
        stack.enter_context(one_thread())  # one PyTorch thread in each of our threads
        gradients = stack.enter_context(Gradients(model, recipe, teacher, place))
        report = stack.enter_context(place.progress.training(steps or round(3600 * (recipe.hours or 1))))
        saved, loss = time.monotonic(), math.nan
        source = batches(data, recipe, step)
        ahead = gradients.submit(next, source)  # make the next batch while this one is computed
        while (done := progress()) < 1:
            batch = ahead.result()
            ahead = gradients.submit(next, source)
            loss = gradients(batch)
            optimizer.step(batch.ks[0] * recipe.head_dim, recipe.learning_rate(done), gradients.run)
            step += 1
            average.update(model, step)
            report(step if steps else round(elapsed()), step, loss)
            if time.monotonic() - saved > place.save_every:
                try:
                    save(place.checkpoint, state(False))
                except TrainError as error:
                    place.progress.note(f"note: {error}")  # the next checkpoint may find room again
                saved = time.monotonic()
    result = state(True)
    save(place.checkpoint, result)
    return result
