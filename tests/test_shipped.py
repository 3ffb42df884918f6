"""What the weight files that ship say of themselves."""

import itertools
from pathlib import Path

import pytest

from hydrart.format.metadata import Accuracy
from hydrart.format.reader import WeightFile
from hydrart.resources import bundled

FILES = {name: WeightFile(path) for name, path in bundled("weights", ".safetensors").items()}
MOST_BYTES = 30_000_000  # bytes of a file in the repository; 20 MB where the precision is low


def accuracy(name: str) -> Accuracy:
    found = FILES[name].meta.accuracy
    assert found is not None
    return found


def test_every_k_is_useful() -> None:
    file, measured = FILES["hydravit-cifar10"], accuracy("hydravit-cifar10")
    top1 = [measured.top1[k] for k in file.heads]
    assert measured.pictures == 10_000 and file.heads == tuple(range(3, 13))
    assert all(after > before - 0.005 for before, after in itertools.pairwise(top1))
    assert top1[-1] >= max(top1) - 0.003


@pytest.mark.parametrize("name", FILES)
def test_files_are_whole_small_and_licensed(name: str) -> None:
    file = FILES[name]
    file.verify()
    assert file.path.stat().st_size < (MOST_BYTES if file.meta.precision == "fp32" else 20_000_000)
    assert file.meta.licence == "Apache-2.0" and len(file.meta.labels) == 10


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_lower_precisions_are_the_same_network(precision: str) -> None:
    low, full = FILES[f"hydravit-cifar10-{precision}"], FILES["hydravit-cifar10"]
    assert low.meta.precision == precision and low.meta.source_sha256 == full.meta.source_sha256
    if low.meta.accuracy is None:
        pytest.skip("its accuracy was not measured")
    assert accuracy(low.path.stem).dataset == accuracy(full.path.stem).dataset
    for k, share in accuracy(full.path.stem).top1.items():
        assert abs(accuracy(low.path.stem).top1[k] - share) < 0.01


def test_the_readme_says_what_the_file_says() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    row = next(line for line in readme.read_text("utf-8").splitlines() if line.startswith("| top-1, % |"))
    told = [float(cell) for cell in row.split("|")[2:-1]]
    assert told == pytest.approx([100 * share for share in accuracy("hydravit-cifar10").top1.values()], abs=0.0501)
