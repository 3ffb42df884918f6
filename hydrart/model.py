"""Model: open a weight file once, and classify pictures with any number of heads."""

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from hydrart.device.profiles import load_device
from hydrart.engine import MAX_BATCH, Engine, make_engine
from hydrart.engine.looking import logits_of
from hydrart.engine.variants import open_variant
from hydrart.errors import HeadsError, PictureError, SettingError, WeightFileError
from hydrart.format.architecture import Architecture, Look
from hydrart.format.merging import Merge
from hydrart.format.metadata import Accuracy
from hydrart.format.precision import FloatArray
from hydrart.format.preprocessing import Preprocessing
from hydrart.format.reader import WeightFile
from hydrart.governor.points import OperatingPoint, Profile
from hydrart.picture.inputs import checked
from hydrart.picture.preprocess import FITS, Box, Picture, prepare, preprocess, read_picture, seen
from hydrart.prediction import Prediction, softmax
from hydrart.resources import DEFAULT_WEIGHTS, find

Heads = int | Sequence[int]  # the k of one look, or those of several
ShowProgress = Callable[[Sequence[int]], Iterable[int]]

_MEASURED_ON = (480, 640, 3)  # the shape of a picture from a camera at its default size
_MEASURED_TIMES = 3


class Model:
    """A nested network, ready to run. `load` makes it. Calls from several threads are safe.

    model = hydrart.load("hydravit-cifar10")
    answer = model("photo.jpg", k=6)
    print(answer.label, answer.score)

    A model can be pickled, for processes that are spawned. What comes out opens the weight file again. After a fork,
    the child may use the model of its parent.
    """

    def __init__(self, file: WeightFile, engine: Engine, fit: str = "crop", threads: int | None = None) -> None:
        self._file = file
        self.fit = fit
        self._engine = engine
        self._threads = threads  # that were asked for
        meta = file.meta
        self.architecture: Architecture = meta.architecture
        self.preprocessing: Preprocessing = meta.preprocessing
        self.accuracy: Accuracy | None = meta.accuracy
        self.precision: str = meta.precision
        width = len(str(self.architecture.classes - 1))
        self.labels: tuple[str, ...] = meta.labels or tuple(
            f"class {i:0{width}}" for i in range(self.architecture.classes)
        )

    def __reduce__(self) -> tuple[Callable[..., "Model"], tuple[Any, ...]]:
        path = self._file.path.absolute()  # another process may have another working directory
        return _open_again, (str(path), self.precision, self._threads, self.backend, self.fit, self._file.mapped)

    def __repr__(self) -> str:
        arch = self.architecture
        return (
            f"Model({str(self._file.path)!r}, heads={list(self.heads)}, precision={self.precision!r}, "
            f"backend={self._engine.name!r}, image_size={arch.image_size}, classes={arch.classes})"
        )

    @property
    def heads(self) -> tuple[int, ...]:
        """The trained ks, ascending."""
        return self.architecture.heads

    @property
    def looks(self) -> tuple[Look, ...]:
        """The looks at a picture, in their order. A network whose every k answers alone has one, of its largest k."""
        arch = self.architecture
        return arch.looks or (Look(arch.heads[-1], arch.image_size),)

    @property
    def file(self) -> WeightFile:
        """The open weight file. It is the one that `precision` chose."""
        return self._file

    @property
    def backend(self) -> str:
        """The name of the backend that computes."""
        return self._engine.name

    @property
    def threads(self) -> int:
        """The most cores that a call uses."""
        return self._engine.threads

    @overload
    def __call__(
        self,
        picture: Picture,
        k: Heads | None = None,
        *,
        bgr: bool = False,
        deadline_ms: float | None = None,
        merge: Merge = 0,
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        picture: list[Any] | tuple[Any, ...],
        k: Heads | None = None,
        *,
        bgr: bool = False,
        merge: Merge = 0,
    ) -> list[Prediction]: ...

    def __call__(
        self,
        picture: Picture | list[Any] | tuple[Any, ...],
        k: Heads | None = None,
        *,
        bgr: bool = False,
        deadline_ms: float | None = None,
        merge: Merge = 0,
    ) -> Prediction | list[Prediction]:
        """Classify a picture: path, PIL image or uint8 RGB array [H, W, 3]. k=None is the largest.

        Arrays may also be grey [H, W], RGBA [H, W, 4] and uint16. bgr: arrays have their colours in the order of
        OpenCV. Several pictures give a list of answers: a list, a tuple, or an array [N, H, W, 3]. They pass the
        network in batches, and each answer's times are its share of its batch's.

            first, second = model(["a.jpg", "b.jpg"], k=6)

        A network of several looks is called without k. Its looks run one after the other, and the last one answers.

        Several ascending ks are looks, one after the other. The last look that is ready gives the answer.

            answer = model("photo.jpg", k=(3, 8), deadline_ms=40)
            print(answer.label, answer.k, answer.abandoned)

        deadline_ms: milliseconds from this call on, for a single picture. A look that is not ready by then is
        abandoned within the time of one block, and the look before it gives the answer. The first look always runs to
        its end. Only the native backend abandons a look that has begun.

        merge: how many tokens each block merges, as logits() takes it.

        Raises PictureError, HeadsError, SettingError.
        """
        start = time.perf_counter()
        looks = self._checked_looks(k)
        if isinstance(picture, np.ndarray) and picture.ndim == 4:
            picture = list(picture)
        if isinstance(picture, list | tuple):
            if deadline_ms is not None:
                raise SettingError("deadline_ms is for one picture, and this is a list: pass its pictures one by one")
            batches = (picture[at : at + MAX_BATCH] for at in range(0, len(picture), MAX_BATCH))
            return [answer for batch in batches for answer in self._answers(batch, looks, bgr, merge)]
        deadline = _deadline(start, deadline_ms)
        x = self.preprocess(picture, bgr=bgr)
        return self._answer(x, looks, (time.perf_counter() - start) * 1e3, deadline, merge)

    def _answers(self, pictures: Sequence[Picture], looks: Sequence[int], bgr: bool, merge: Merge) -> list[Prediction]:
        start = time.perf_counter()
        x = np.concatenate([self.preprocess(picture, bgr=bgr) for picture in pictures])
        ready = time.perf_counter()
        look, k = len(looks) - 1, looks[-1]
        probabilities = softmax(self.logits(x, None if self.architecture.looks else k, merge=merge))
        before, after = (
            (end - begin) * 1e3 / len(pictures) for begin, end in ((start, ready), (ready, time.perf_counter()))
        )
        return [Prediction(k, row, self.labels, before, after, look) for row in probabilities]

    def answer(
        self,
        x: NDArray[Any],
        k: Heads | None = None,
        preprocess_ms: float = 0.0,
        *,
        deadline_ms: float | None = None,
        merge: Merge = 0,
    ) -> Prediction:
        """Classify an input of preprocess() with k heads; k=None takes the largest k.

        x: float32 [1, 3, H, W]. preprocess_ms: milliseconds that it took, for the answer. deadline_ms: milliseconds
        from this call on, for the looks of several ks, as when the model is called. merge: how many tokens each block
        merges, as logits() takes it. Raises PictureError, HeadsError, SettingError.
        """
        start = time.perf_counter()
        return self._answer(x, self._checked_looks(k), preprocess_ms, _deadline(start, deadline_ms), merge)

    def _answer(
        self, x: NDArray[Any], looks: Sequence[int], preprocess_ms: float, deadline: float | None, merge: Merge
    ) -> Prediction:
        start = time.perf_counter()
        merges = self.architecture.merges(looks[0], merge)
        x = checked(x, self.architecture.image_size)[:1]
        if not len(x):
            raise PictureError("the input holds no picture: pass float32 [1, 3, H, W], as preprocess() makes it")
        with self._engine.looking(x, merges) as view:
            logits, look = view.look(looks[0]), 0
            while look + 1 < len(looks):
                better = view.look(looks[look + 1], deadline=deadline)
                if better is None:
                    break
                logits, look = better, look + 1
        assert logits is not None  # the first look is never abandoned
        probabilities = softmax(self._finite(logits)[0])
        infer_ms = (time.perf_counter() - start) * 1e3
        return Prediction(
            looks[look], probabilities, self.labels, preprocess_ms, infer_ms, look, tuple(looks[look + 1 :])
        )

    def stop(self) -> None:
        """Give the answer that is being computed now: abandon its looks after the first. Any thread may call this.

        It does nothing where no answer is being computed.
        """
        self._engine.stop()

    def _checked_looks(self, k: Heads | None) -> tuple[int, ...]:
        """The ks of the looks. Raises HeadsError."""
        if self.architecture.looks:
            self.architecture.check_look(k)
            return self.heads
        if k is None or isinstance(k, int) or not isinstance(k, Sequence):
            return (self.architecture.check_k(k),)
        ks = tuple(map(self.architecture.check_k, k))
        if not ks or any(a >= b for a, b in pairwise(ks)):
            raise HeadsError(f"k={k!r:.80} are no looks: pass one k, or several in ascending order")
        return ks

    def preprocess(self, picture: Picture, *, bgr: bool = False) -> FloatArray:
        """Make the network's input of a picture: float32 [1, 3, H, W], normalised.

        picture: a path, a PIL image, or an array as above. bgr: its colours are in the order of OpenCV. Raises
        PictureError.
        """
        return preprocess(read_picture(picture, bgr), self.preprocessing, self.fit)

    def logits(self, x: NDArray[Any], k: int | None = None, *, look: int | None = None, merge: Merge = 0) -> FloatArray:
        """Logits of k heads: float32 [B, 3, H, W], normalised -> float32 [B, classes]. k=None takes the largest k.

        look: the number of a look, of a network of several looks, which is called without k. The looks before it run
        first. None takes the last one.

        merge: how many of the most similar tokens each block merges: one number for all blocks, or a sequence with one
        for each. A block merges at most half of its tokens. The fewer tokens that are left, the faster the blocks after
        it. Source: Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023.

            logits = model.logits(x, k=5, merge=6)

        Raises PictureError, HeadsError, and SettingError for a merge that does not fit.
        """
        arch = self.architecture
        k = arch.check_look(k, look) if arch.looks or look is not None else arch.check_k(k)
        merges = arch.merges(k, merge)
        x = checked(x, arch.image_size)
        if arch.looks:
            return self._finite(logits_of(self._engine, x, self.heads[: self.heads.index(k) + 1]))
        return self._finite(self._engine.logits(x, k, merges))

    def features(self, x: NDArray[Any], k: int | None = None, *, merge: Merge = 0) -> FloatArray:
        """The class tokens after the final LayerNorm: float32 [B, 3, H, W], normalised -> float32 [B, k * head_dim].

        k=None takes the largest k. merge: how many tokens each block merges, as logits() takes it. Raises PictureError,
        HeadsError, SettingError.
        """
        if self.architecture.looks:
            raise HeadsError("a network of several looks has no features: take its logits()")
        k = self.architecture.check_k(k)
        merges = self.architecture.merges(k, merge)
        x = checked(x, self.architecture.image_size)
        return self._finite(self._engine.features(x, k, merges))

    def warm_up(self, *ks: int) -> None:
        """Run each of the ks once, so that no later call pays for compiling or decoding. Without ks, run the largest.

        Of a network of several looks, run every look. Raises HeadsError.
        """
        size = self.architecture.image_size
        self.preprocess(np.zeros((size, size, 3), np.uint8))
        for k in ks or (None,):
            self.logits(np.zeros((1, 3, size, size), np.float32), k)

    def measure(self, progress: ShowProgress | None = None) -> dict[int, float]:
        """Measure every k on a black picture of 640x480 pixels: k -> milliseconds, with the preprocessing.

        Each k runs three times, and the fastest run counts. After that, no k has anything left to compile, decode or
        allocate. progress: wraps the sequence of ks while they run, as tqdm does.

        Example: `profile = model.profile().measured(model.measure())`.
        """
        picture = np.zeros(_MEASURED_ON, np.uint8)
        self.warm_up()
        return {
            k: min(self(picture, k).latency_ms for _ in range(_MEASURED_TIMES))
            for k in (progress(self.heads) if progress is not None else self.heads)
        }

    def expect(self, height: int, width: int) -> None:
        """Compute beforehand what preprocess() needs for pictures [height, width, 3], so that the first is as fast."""
        prepare(height, width, self.preprocessing, self.fit)

    def seen(self, height: int, width: int) -> Box:
        """The part of a picture [height, width, 3] that the network sees: left, top, width and height, as shares.

        Example: `model.seen(480, 640)` is about (0.16, 0.05, 0.68, 0.9) for a network that crops to 0.9.
        """
        return seen(height, width, self.preprocessing, self.fit)

    def profile(self, device: str | os.PathLike[str] | None = None) -> Profile:
        """The table of ks that a governor chooses from.

        It has a row for every k with its work, and with its accuracy where the file records one. device: the name of a
        device profile that ships, or the path of one. The table then also has the profile's latencies, powers, jitter
        and thermal model. Raises ProfileError.
        """
        top1 = self.accuracy.top1 if self.accuracy else {}
        known = load_device(device) if device is not None else None
        latency, power = (known.latency_ms, known.power_w) if known else ({}, {})
        rows = tuple(
            OperatingPoint(k, self.architecture.macs(k), top1.get(k), latency.get(k), power.get(k)) for k in self.heads
        )
        if known is None:
            return Profile(rows)
        return Profile(rows, known.idle_w, known.jitter, known.thermal, known.capacity_wh)

    def _finite(self, y: FloatArray) -> FloatArray:
        """The answer to an input that was checked: where it is not finite, the weights are to blame."""
        self._file.check_unchanged()
        if np.isfinite(y).all():
            return y
        raise WeightFileError(
            f"{self._file.path} gives answers that are not finite: check it with: hydrart info --verify"
        )


def load(
    weights: str | os.PathLike[str] = DEFAULT_WEIGHTS,
    *,
    precision: str = "auto",
    threads: int | None = None,
    backend: str = "native",
    fit: str = "crop",
    mmap: bool = True,
) -> Model:
    """Open a weight file.

    - weights: its path, or the name of one that ships.
    - precision: "fp32", "bf16" or "int8", of this file or of one beside it (NAME-int8.safetensors). "auto" takes the
      fastest of them whose recorded top-1 is at most 0.3 points lower than this file's at every k.
    - threads: cores that a call may use; None for all. With the reference this caps NumPy's BLAS pool, which the whole
      process shares, and None leaves the pool as it is.
    - backend: "native", "reference" (NumPy, exact and slow) or "onnxruntime".
    - fit: how a picture of any shape becomes the square that the network takes. "crop" cuts out the centre, as the
      weight file says. "pad" shows the whole picture with a border, "stretch" shows it distorted. The network was
      trained and measured with "crop".
    - mmap: False reads the whole file into memory. Then nothing that happens to the file later reaches this process. A
      mapped file must not be written to: Linux ends the process with SIGBUS where it shrinks (mmap(2)).

    Raises WeightFileError, SettingError, MissingExtraError.
    """
    if fit not in FITS:
        raise SettingError(f"fit={fit!r} is unknown: choose from {', '.join(FITS)}")
    if not isinstance(weights, str | os.PathLike):
        raise SettingError(f"weights={weights!r:.80} is no weight file: pass a path, or the name of one that ships")
    path = find(weights, "weights", ".safetensors", WeightFileError)
    file = open_variant(path, precision, backend, mmap)
    return Model(file, make_engine(backend, file, threads), fit, threads)


def _open_again(path: str, precision: str, threads: int | None, backend: str, fit: str, mmap: bool) -> Model:
    """What unpickling a model calls."""
    return load(path, precision=precision, threads=threads, backend=backend, fit=fit, mmap=mmap)


def ready() -> None:
    """Load the compiled code of the kernels and of the preprocessing. Compile what the cache lacks."""
    from hydrart.engine.kernels import forward

    forward.run.ready()
    preprocess(np.zeros((8, 8, 3), np.uint8), Preprocessing(8))


def _deadline(start: float, deadline_ms: float | None) -> float | None:
    """The time by time.perf_counter() that is so many milliseconds after `start`. Raises SettingError."""
    if deadline_ms is None:
        return None
    if isinstance(deadline_ms, bool) or not isinstance(deadline_ms, Real) or not math.isfinite(deadline_ms):
        raise SettingError(f"deadline_ms={deadline_ms!r:.40} is no time: pass milliseconds, or None")
    return start + deadline_ms / 1e3
