"""What the tests of the trainer share."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hydrart.format.preprocessing import Preprocessing
from tests.support.commands import good, json_lines
from tests.support.json_page import check

if TYPE_CHECKING:
    from hydrart.train.data import Pictures


@pytest.fixture(scope="session")
def pictures(data: Path) -> "Pictures":
    """The training pictures, at 16 pixels."""
    from hydrart.train.data import folders_of, read_pictures

    return read_pictures(data / "train", folders_of(data)[0], Preprocessing(16, crop=1.0))


@pytest.fixture(scope="module")
def teacher(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolutional network that tells red from blue, trained by the command."""
    output = tmp_path_factory.mktemp("new") / "folder" / "teacher.pth"
    options = ("--image-size", 16, "--batch", 8, "--threads", 1, "--epochs", 4)
    (line,) = json_lines(good("train-teacher", *options, "--data", data, "-o", output, "--json").stdout)
    check("hydrart train-teacher", [line])
    assert line["top1"] > 0.9
    return output
