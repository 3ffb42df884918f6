"""Random networks with weights, tables and buffers between inaccessible pages.

python -m tests.support.guarded SEED COUNT makes and calls COUNT networks. A kernel's access beside
them ends the process with SIGSEGV. The last line of stdout then names the network.
"""

import ctypes
import faulthandler
import mmap
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.engine import merging_tables, native, weights
from hydrart.engine.native import NativeEngine
from hydrart.format.architecture import Architecture, Look
from hydrart.format.precision import PRECISIONS
from hydrart.format.reader import WeightFile
from tests.support.networks import SMALL, make_file

Array = NDArray[Any]

_PAGE = mmap.PAGESIZE
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def _protect(address: int, size: int) -> None:
    if _libc.mprotect(address, size, _PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")


class Pages:
    """Makes arrays beside unreadable pages. They end at such a page or begin after one, in turn.

    align: the alignment of an array's address, in bytes.
    """

    def __init__(self) -> None:
        self._at_end = False

    def zeros(self, shape: Any, dtype: Any = np.float64, align: int = 0) -> Array:
        """Same as np.zeros()."""
        self._at_end = not self._at_end
        return self.placed(shape, dtype, align, self._at_end)

    def placed(self, shape: Any, dtype: Any, align: int, at_end: bool) -> Array:
        """Same as np.zeros(), at the end of its pages or at their beginning."""
        dtype = np.dtype(dtype)
        size = int(np.prod(shape)) * dtype.itemsize
        align = align or min(dtype.itemsize, 8)
        pages = -(-max(size, 1) // _PAGE)
        memory = mmap.mmap(-1, (pages + 2) * _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(memory, np.uint8)
        start = whole.ctypes.data
        _protect(start, _PAGE)
        _protect(start + (pages + 1) * _PAGE, _PAGE)
        at = _PAGE + ((pages * _PAGE - size) // align * align if at_end else 0)
        array: Array = whole[at : at + size].view(dtype).reshape(shape)
        return array


class Guarded(NativeEngine):
    """The native engine. Only the memory for one k is accessible."""

    def __init__(self, file: WeightFile, threads: int, k: int, pages: Pages) -> None:
        self._pages = pages
        self._kept = dict[str, Array]()
        data = pages.placed(file.end(k), np.uint8, 64, at_end=True)
        data[:] = file.data[: file.end(k)]
        file.data = data
        super().__init__(file, threads)

    def _allocate(self, batch: int) -> None:
        super()._allocate(batch)
        net = self._network[0]
        for name, size in self._sizes(batch).items():
            self._kept[name] = self._pages.zeros(size, np.uint8, align=64)
            net[name] = self._kept[name].ctypes.data


def random_architecture(rng: np.random.Generator) -> Architecture:
    """Return a random small shape: any kind of layer, odd sizes, and few heads as likely as many."""
    head_dim = int(rng.choice([16, 32, 64]))
    most = int(rng.integers(1, 6))
    heads = tuple(sorted({most, *map(int, rng.integers(1, most + 1, rng.integers(0, 3)))}))
    patch = int(rng.choice([4, 7, 8, 16, 33]))
    image_size = patch * int(rng.integers(1, 6))
    fusion = str(rng.choice(["none", "tokens", "grid"]))
    smallest = image_size if fusion == "tokens" else patch
    sizes = [*sorted(map(int, rng.integers(smallest, image_size + 1, len(heads) - 1) // patch * patch)), image_size]
    looks = tuple(map(Look, heads, sizes)) if fusion != "none" else ()
    return replace(
        SMALL,
        image_size=image_size,
        looks=looks,
        fusion=fusion,
        patch=patch,
        depth=int(rng.integers(1, 4)),
        head_dim=head_dim,
        heads=heads,
        classes=int(rng.choice([1, 2, 10, 64, 65, 129, 1000])),
        layer_scale=bool(rng.integers(2)) and fusion != "grid",
        separate_classifiers=bool(rng.integers(2)) and fusion == "none",
    )


# the prefetch after the classifier is one tile high, a fraction of a group
WIDE_PATCH = replace(SMALL, image_size=33, patch=33, head_dim=16, heads=(1,), depth=1)


def check(arch: Architecture, precision: str, seed: int, folder: Path) -> None:
    """Check one network at one k: it gives the same bits as without unreadable pages, for batches of 1 to 5."""
    rng = np.random.default_rng(seed)
    file = make_file(folder / f"{seed}.safetensors", arch, precision, seed)
    k = int(rng.choice(arch.heads))
    batch, threads = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    print(seed, precision, f"k={k} batch={batch} threads={threads}", arch, flush=True)
    pictures = rng.standard_normal((batch, arch.channels, arch.image_size, arch.image_size)).astype(np.float32)
    plain = NativeEngine(WeightFile(file), 1)
    r = 0 if arch.looks else int(rng.integers(arch.patches(k) // 2 + 1))
    merges = arch.merges(k, r)
    expected = plain.logits(pictures, k), plain.features(pictures, k), plain.logits(pictures, k, merges)
    pages = Pages()
    own: Any = SimpleNamespace(**{name: getattr(np, name) for name in dir(np)})
    own.zeros = pages.zeros
    weights.np = native.np = merging_tables.np = own  # type: ignore[attr-defined]
    try:
        inputs = pages.zeros(pictures.shape, np.float32)
        inputs[:] = pictures
        engine = Guarded(WeightFile(file), threads, k, pages)
        for part in (1, batch):  # the second call makes the buffers grow
            np.testing.assert_array_equal(engine.logits(inputs[:part], k), expected[0][:part])
            np.testing.assert_array_equal(engine.features(inputs[:part], k), expected[1][:part])
            np.testing.assert_array_equal(engine.logits(inputs[:part], k, merges), expected[2][:part])
    finally:
        weights.np = native.np = merging_tables.np = np  # type: ignore[attr-defined]
    file.unlink()


def main(seed: int, count: int) -> None:
    """Make and call COUNT networks. WIDE_PATCH is the first."""
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(seed, seed + count):
            rng = np.random.default_rng(number)
            arch = WIDE_PATCH if number == seed else random_architecture(rng)
            check(arch, str(rng.choice(list(PRECISIONS))), number, Path(folder))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
