"""An invented data set for the tests of the training tools: red and blue pictures."""

from pathlib import Path
from typing import Any

import click
import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

SMALL = ("--depth", 1, "--patch", 8, "--image-size", 16, "--batch", 8, "--threads", 1)


def make_colours(root: Path, pictures: int = 16) -> Path:
    """Make train/ and test/ with red/ and blue/, each with pictures of two sizes."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for label, channel in (("red", 0), ("blue", 2)):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(pictures):
                picture = rng.integers(0, 80, (20, 24 + i % 2 * 9, 3), np.uint8)
                picture[:, :, channel] += 150
                Image.fromarray(picture).save(folder / f"{i}.png")
    return root


def run_tool(command: click.Command, *arguments: Any) -> Result:
    """Run a tool in this process. Any exception other than an exit code fails the test."""
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
