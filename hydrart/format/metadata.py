"""What a weight file says about itself: `__metadata__["hydrart"]`, a JSON object.

Format version 2 is that of networks of several looks. Version 1 is that of all others.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from hydrart.errors import WeightFileError
from hydrart.format.architecture import Architecture, Look
from hydrart.format.precision import PRECISIONS
from hydrart.format.preprocessing import INTERPOLATIONS, Preprocessing

VERSIONS = (1, 2)

_APART = ("heads", "looks", "fusion")  # what the JSON holds outside its architecture
_LARGEST = 1e6  # the largest mean, and the largest 1 / std, that a file may hold


@dataclass(frozen=True)
class Accuracy:
    """Measured accuracy per k, as shares from 0 to 1.

    - dataset: name of the test pictures.
    - pictures: how many there were.
    - top1, top5: accuracy by k.
    """

    dataset: str
    pictures: int
    top1: Mapping[int, float]
    top5: Mapping[int, float] = field(default_factory=dict)

    def up_to(self, k: int) -> "Accuracy":
        """The entries of the networks of at most k heads."""
        return replace(
            self,
            top1={i: a for i, a in self.top1.items() if i <= k},
            top5={i: a for i, a in self.top5.items() if i <= k},
        )


Training = Mapping[str, str | int | float]  # the options of one training and what came of it


@dataclass(frozen=True)
class Metadata:
    """Everything a run needs besides the weights.

    - architecture, precision, preprocessing: what the tensors are, how they are stored, how pictures become inputs.
    - labels: one per class, empty where unknown.
    - accuracy: the measured accuracy; None where nobody measured it.
    - source, source_sha256: name and SHA-256 of the checkpoint that the file was made from.
    - licence: of the weights.
    - digests: SHA-256 of each shell's bytes, by k.
    - history: the known trainings that led to the weights, the oldest first.
    """

    architecture: Architecture
    precision: str
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    licence: str = "unknown"
    source: str = "unknown"
    source_sha256: str = ""
    digests: Mapping[int, str] = field(default_factory=dict)
    history: tuple[Training, ...] = ()

    @property
    def version(self) -> int:
        """The format version of the file."""
        return 2 if self.architecture.looks else 1

    def cut(self, k: int) -> "Metadata":
        """The metadata of a file that ends after the shell of k."""
        return replace(
            self,
            architecture=self.architecture.cut(tuple(i for i in self.architecture.heads if i <= k)),
            accuracy=self.accuracy and self.accuracy.up_to(k),
            digests={i: d for i, d in self.digests.items() if i <= k},
        )


def dump(meta: Metadata) -> str:
    """The JSON text that the file carries."""
    arch, prep = meta.architecture, meta.preprocessing
    looks = {"looks": [asdict(look) for look in arch.looks], "fusion": arch.fusion} if arch.looks else {}
    return json.dumps(
        {
            "version": meta.version,
            "architecture": {f.name: getattr(arch, f.name) for f in fields(arch) if f.name not in _APART},
            "heads": arch.heads,
            **looks,
            "precision": meta.precision,
            "preprocessing": {f.name: getattr(prep, f.name) for f in fields(prep)} | {"colour": "RGB"},
            "labels": meta.labels,
            "accuracy": meta.accuracy and vars(meta.accuracy),
            "licence": meta.licence,
            "source": {"name": meta.source, "sha256": meta.source_sha256},
            "shells": meta.digests,
            "history": meta.history,
        }
    )


def parse(text: str) -> Metadata:
    """Read and check the JSON text. Raises WeightFileError without the file's name, which the caller adds."""
    try:
        entries = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise WeightFileError("its hydrart metadata is not JSON") from None
    root = _typed(entries, dict, "the metadata")
    version = root.get("version")
    if type(version) is not int or version not in VERSIONS:
        raise WeightFileError(
            f"it has format version {version!r:.40}, this hydrart reads versions {VERSIONS[0]} and {VERSIONS[-1]}: "
            "install the hydrart that wrote it, or convert the checkpoint again"
        )
    heads = tuple(_list(root, "heads", int))
    arch = _part(root, "architecture")
    preprocessing = _preprocessing(_part(root, "preprocessing"))
    again = _looks(root) if version == 2 else {}
    try:
        architecture = Architecture(heads=heads, **again, **_known(arch, Architecture, "architecture"))
    except (TypeError, ValueError) as error:
        raise WeightFileError(f"its architecture does not fit together: {error}") from None
    if preprocessing.size != architecture.image_size:
        raise WeightFileError(
            f"it prepares pictures of {preprocessing.size} pixels for a network of {architecture.image_size}"
        )
    if architecture.channels != 3:
        raise WeightFileError(f"its network takes {architecture.channels} channels, hydrart feeds RGB")
    labels = tuple(_list(root, "labels", str))
    if labels and len(labels) != architecture.classes:
        raise WeightFileError(f"it has {len(labels)} labels for {architecture.classes} classes")
    source = _part(root, "source")
    return Metadata(
        architecture=architecture,
        precision=_choice(root, "precision", PRECISIONS),
        preprocessing=preprocessing,
        labels=labels,
        accuracy=_accuracy(root.get("accuracy"), heads),
        licence=_get(root, "licence", str),
        source=_get(source, "name", str),
        source_sha256=_get(source, "sha256", str),
        digests=_by_k(_part(root, "shells"), heads, "shells", str),
        history=_history(root.get("history", [])),
    )


def _normal(mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    # float32 holds these bounds. Compared before they become float: JSON's whole numbers may be too large for one.
    return all(abs(value) <= _LARGEST for value in mean) and all(1 / _LARGEST <= value <= _LARGEST for value in std)


def _preprocessing(part: dict[str, Any]) -> Preprocessing:
    if part.pop("colour", "RGB") != "RGB":
        raise WeightFileError("its preprocessing asks for a colour order other than RGB")
    mean, std = (tuple(_list(part, name, float)) for name in ("mean", "std"))
    crop = _get(part, "crop", float)
    if len(mean) != 3 or len(std) != 3 or not _normal(mean, std):
        raise WeightFileError("its preprocessing has no mean and positive std of three numbers each")
    if not 0.1 <= crop <= 1:
        raise WeightFileError(f"its preprocessing crops to {crop!r:.40}, not to a share from 0.1 to 1")
    size = _get(part, "size", int)
    interpolation = _choice(part, "interpolation", INTERPOLATIONS)
    return Preprocessing(size, crop, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]), interpolation)


def _looks(root: dict[str, Any]) -> dict[str, Any]:
    """The entries of version 2: the looks, and how one takes up what the look before it found."""
    looks = tuple(Look(_get(part, "heads", int), _get(part, "image_size", int)) for part in _list(root, "looks", dict))
    if not looks:
        raise WeightFileError("it has format version 2 and no looks: convert the checkpoint again")
    return {"looks": looks, "fusion": _get(root, "fusion", str)}


def _accuracy(part: Any, heads: tuple[int, ...]) -> Accuracy | None:
    if part is None:
        return None
    part = _typed(part, dict, "accuracy")
    tables = {name: _by_k(_part(part, name), heads, name, float) for name in ("top1", "top5")}
    if any(not 0 <= share <= 1 for table in tables.values() for share in table.values()):
        raise WeightFileError("its accuracy is not a share from 0 to 1")
    return Accuracy(_get(part, "dataset", str), _get(part, "pictures", int), **tables)


def _history(runs: Any) -> tuple[Training, ...]:
    """Check the list of trainings, each a table of plain values. Older files have no such entry."""
    for run in _typed(runs, list, "history"):
        for key, value in _typed(run, dict, "history").items():
            _typed(key, str, "history")
            _typed(value, str if isinstance(value, str) else float, "history")
    return tuple(runs)


def _by_k(part: dict[str, Any], heads: tuple[int, ...], what: str, kind: type) -> dict[int, Any]:
    names = {str(k): k for k in heads}
    for key in part:
        if key not in names:
            raise WeightFileError(f"its {what} speak of k={key[:20]!r}, which it does not hold")
    return {names[key]: _typed(value, kind, what) for key, value in part.items()}


def _known(part: dict[str, Any], cls: type, what: str) -> dict[str, Any]:
    names = {f.name: f.type for f in fields(cls) if f.name not in _APART}
    for key, value in part.items():
        if key not in names:
            raise WeightFileError(f"its {what} has an unknown entry {key[:40]!r}")
        kind = names[key]
        if isinstance(kind, type) and kind in (int, float, bool):
            _typed(value, kind, key)
    return part


def _get(part: dict[str, Any], key: str, kind: type) -> Any:
    return _typed(part.get(key), kind, key)


def _part(part: dict[str, Any], key: str) -> dict[str, Any]:
    return dict(_typed(part.get(key), dict, key))


def _list(part: dict[str, Any], key: str, kind: type) -> list[Any]:
    return [_typed(value, kind, key) for value in _typed(part.get(key), list, key)]


def _choice(part: dict[str, Any], key: str, choices: Collection[str]) -> str:
    value: str = _get(part, key, str)
    if value not in choices:
        raise WeightFileError(f"its {key} is {value[:40]!r}, not one of {', '.join(choices)}")
    return value


def _typed(value: Any, kind: type, what: str) -> Any:
    """Return the value if it has this type. A whole number passes as float. Raises WeightFileError."""
    kinds = (int, float) if kind is float else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        names: dict[type, str] = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
        raise WeightFileError(f"its metadata has no valid {what!r}: {names.get(kind, 'a number')} is expected")
    if isinstance(value, str) and not value.isprintable():
        raise WeightFileError(f"its metadata holds control characters in {what!r}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
