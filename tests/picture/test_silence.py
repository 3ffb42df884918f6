"""What decoders say stays off stderr."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

CODE = """
import sys
from hydrart.errors import PictureError
from hydrart.picture.preprocess import read_picture
from hydrart.picture.silence import silence_decoders
if sys.argv[1] == "silent":
    silence_decoders()
for path in sys.argv[2:]:
    try:
        read_picture(path)
    except PictureError:
        pass
"""


def test_damaged_tiff_files_print_nothing(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    rng = np.random.default_rng(1)
    paths = []
    for form in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        data = io.BytesIO()
        image.save(data, "tiff", compression=form)
        for number in range(20):
            damaged = np.frombuffer(data.getvalue(), np.uint8).copy()
            damaged[rng.integers(0, len(damaged), 6)] = rng.integers(0, 256, 6)
            paths.append(tmp_path / f"{form}{number}.tiff")
            paths[-1].write_bytes(damaged.tobytes())
    said = {
        how: subprocess.run(
            [sys.executable, "-W", "ignore", "-c", CODE, how, *paths], capture_output=True, text=True, check=True
        ).stderr
        for how in ("silent", "as it is")
    }
    assert said["as it is"], "libtiff has something to say of these"
    assert said["silent"] == ""
