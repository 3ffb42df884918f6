"""The compiled resize against Pillow's of the whole picture: equal in every bit, for any shape and memory layout."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image

from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.preprocess import normalise, preprocess, square
from tests.picture.test_preprocess import noise, timm_transform

Rgb = NDArray[np.uint8]

IMAGENET = Preprocessing(224)
PILLOW = int(PIL.__version__.split(".")[0])


def check(picture: Rgb, spec: Preprocessing) -> None:
    """The picture, of any strides, becomes what Pillow makes of a contiguous copy."""
    if picture.shape[0] > 2 * picture.shape[1] and PILLOW < 13:
        return  # it filters tall pictures in the other order
    method = Image.Resampling[spec.interpolation.upper()]
    expected = timm_transform(Image.fromarray(np.array(picture, order="C")), spec.size, spec.crop, method)
    np.testing.assert_array_equal(square(picture, spec), expected)
    np.testing.assert_array_equal(preprocess(picture, spec), normalise([expected], spec))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0])
@pytest.mark.parametrize(
    "size", [(640, 480), (480, 640), (223, 225), (1, 1), (5, 2), (97, 4), (3, 1500), (2100, 64), (90, 181)]
)
def test_shapes(size: tuple[int, int], crop: float, interpolation: str) -> None:
    for side in (7, 32, 224):
        check(noise(*size), Preprocessing(side, crop, interpolation=interpolation))


def test_random_shapes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        width, height, side = (int(n) for n in np.exp(rng.uniform(0, np.log(500), 3)))
        spec = Preprocessing(side, float(rng.uniform(0.1, 1)), interpolation=rng.choice(["bicubic", "bilinear"]))
        check(rng.integers(0, 256, (height, width, 3), np.uint8), spec)


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_video_frames(size: tuple[int, int]) -> None:
    bgr = noise(*size)
    check(bgr, IMAGENET)
    check(bgr[:, :, ::-1], IMAGENET)


@pytest.mark.parametrize("side", [32, 150])  # smaller, larger
def test_sums_beyond_black_and_white_are_clipped(side: int) -> None:
    y, x = np.mgrid[:90, :120]
    board = np.where(((x // 7 + y // 7) % 2)[:, :, None], (255, 0, 255), (0, 255, 254)).astype(np.uint8)
    check(board, Preprocessing(side))
    check(np.full((90, 120, 3), 255, np.uint8), Preprocessing(side))


VIEWS: dict[str, Callable[[Rgb], Rgb]] = {
    "BGR": lambda x: x[:, :, ::-1],
    "upside down": lambda x: x[::-1],
    "mirrored": lambda x: x[:, ::-1],
    "mirrored BGR": lambda x: x[:, ::-1, ::-1],
    "everything backwards": lambda x: x[::-1, ::-1, ::-1],
    "every second column": lambda x: x[:, ::2],
    "every third column, mirrored BGR": lambda x: x[:, ::-3, ::-1],
    "every second row": lambda x: x[::2],
    "padded rows": lambda x: np.pad(x, ((0, 0), (0, 5), (0, 0)))[:, :-5],
    "a part": lambda x: x[3:-7, 11:-2],
    "one column": lambda x: x[:, 40:41],
    "one mirrored column": lambda x: x[:, 40:39:-1, ::-1],
    "one row": lambda x: x[20:21],
    "RGBA": lambda x: np.pad(x, ((0, 0), (0, 0), (0, 1)))[:, :, :3],
    "BGRA": lambda x: np.pad(x, ((0, 0), (0, 0), (0, 1)))[:, :, 2::-1],
    "ARGB": lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0)))[:, :, 1:],
    "transposed": lambda x: x.transpose(1, 0, 2),
    "turned": lambda x: np.rot90(x),
    "Fortran order": np.asfortranarray,
    "planes": lambda x: np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0),
    "planes backwards": lambda x: np.ascontiguousarray(x.transpose(2, 0, 1)).transpose(1, 2, 0)[:, :, ::-1],
    "the same row": lambda x: np.broadcast_to(x[:1], x.shape),
    "the same column": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "the same channel": lambda x: np.broadcast_to(x[:, :, :1], x.shape),
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.uint8).reshape(x.shape),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    for size in ((120, 90), (61, 200)):
        view = VIEWS[name](noise(*size))
        before = view.copy()
        for side in (16, 64, 150):
            check(view, Preprocessing(side))
        np.testing.assert_array_equal(view, before)


def test_nothing_is_read_outside_the_picture() -> None:
    """Pictures that begin or end where the memory does."""
    program = """
import ctypes, mmap
import numpy as np
from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.preprocess import preprocess

page, libc = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True)
memory = mmap.mmap(-1, 10 * page)
raw = np.frombuffer(memory, np.uint8)
for edge in (0, 9 * page):
    assert libc.mprotect(ctypes.c_void_p(raw.ctypes.data + edge), ctypes.c_size_t(page), 0) == 0
for height, width in ((3, 5), (4, 1), (1, 4), (70, 99), (1, 1)):
    bytes = 3 * height * width
    for start in (page, 9 * page - bytes):
        picture = raw[start : start + bytes].reshape(height, width, 3)
        for view in (picture, picture[::-1], picture.transpose(1, 0, 2)):
            for mirror in (1, -1):
                for order in (1, -1):
                    preprocess(view[:, ::mirror, ::order], Preprocessing(8, 1.0))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr}"


def test_threads_do_not_disturb_each_other() -> None:
    pictures = [noise(90 + 7 * i, 70 + 11 * i, seed=i) for i in range(12)]
    expected = [preprocess(picture, IMAGENET) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for x, wanted in zip(pool.map(lambda p: preprocess(p, IMAGENET), pictures), expected, strict=True):
                np.testing.assert_array_equal(x, wanted)


def test_inputs_are_their_own_memory() -> None:
    picture = noise(50, 40)
    first = preprocess(picture, IMAGENET)
    kept = first.copy()
    preprocess(255 - picture, IMAGENET)
    np.testing.assert_array_equal(first, kept)
    assert first.shape == (1, 3, 224, 224) and first.dtype == np.float32 and first.flags.c_contiguous


def test_importing_hydrart_does_not_import_numba() -> None:
    program = "import sys, hydrart; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=300).returncode == 0


# each array ends where the next byte may not be read: a crash, were it read
GUARDED = """
import ctypes, sys
import numpy as np
from hydrart.picture import preprocess, resize

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = 4096

def guarded(shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // PAGE) + 1
    base = libc.mmap(None, pages * PAGE, 3, 0x22, -1, 0)
    end = base + (pages - 1) * PAGE
    assert libc.mprotect(end, PAGE, 0) == 0
    return np.frombuffer((ctypes.c_uint8 * size).from_address(end - size), np.uint8).view(dtype).reshape(shape)

class Numpy:
    def __getattr__(self, name):
        return guarded if name == "empty" else getattr(np, name)

resize.np = Numpy()
for height, width in ((1080, 1920), (1920, 1080), (33, 7), (64, 64), (300, 64)):
    for crop in (1.0, 0.9):
        for interpolation in ("bicubic", "bilinear"):
            picture = guarded((height, width, 3), np.uint8)
            spec = preprocess.Preprocessing(32, crop=crop, interpolation=interpolation)
            preprocess.preprocess(picture, spec)
            preprocess.preprocess(picture[:, :, ::-1], spec)
print("whole")
"""


def test_nothing_is_read_beyond_any_array() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, check=False)
    assert done.stdout == "whole\n", f"{done.returncode} {done.stderr}"


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(640, 480), (480, 640), (33, 200), (1, 1), (5, 2), (3, 1500), (1920, 1080)])
def test_nothing_is_cut_away_unless_asked(size: tuple[int, int], interpolation: str) -> None:
    picture = noise(*size)
    if size[1] > 2 * size[0] and PILLOW < 13:
        pytest.skip("Pillow before 13 filters tall pictures in the other order")
    method = Image.Resampling[interpolation.upper()]
    for side in (7, 32, 224):
        spec = Preprocessing(side, 0.9, interpolation=interpolation)
        stretched = np.asarray(Image.fromarray(picture).resize((side, side), method))
        np.testing.assert_array_equal(preprocess(picture, spec, "stretch"), normalise([stretched], spec))
        wide, tall = (max(1, round(side * edge / max(size))) for edge in size)
        left, top = (side - wide) // 2, (side - tall) // 2
        padded = np.zeros((1, 3, side, side), np.float32)  # the mean colour, normalised
        inside = np.asarray(Image.fromarray(picture).resize((wide, tall), method))
        padded[:, :, top : top + tall, left : left + wide] = normalise([inside], spec)
        np.testing.assert_array_equal(preprocess(picture, spec, "pad"), padded)
