"""engine/kernels/intrinsics.py: bits, addresses and atomic words. test_threads.py waits and wakes with them."""

import threading

import numpy as np
import pytest

from hydrart.engine.kernels import intrinsics
from hydrart.engine.kernels.intrinsics import ISA
from tests.support.jitted import jitted
from tests.support.products import Array, address

_bits, _from_bits, _fetch, _fetch_add, _pause = (
    getattr(intrinsics, name) for name in ("bits", "from_bits", "fetch", "fetch_add", "pause")
)
_f32_at, _i32_at, _i64_at, _u16_at = (getattr(intrinsics, f"{name}_at") for name in ("f32", "i32", "i64", "u16"))
_gelu = intrinsics.gelu


@jitted
def to_bits(x: float) -> int:
    return int(_bits(np.float32(x)))


@jitted
def back(x: float) -> float:
    return float(_from_bits(_bits(np.float32(x))))


@jitted
def increment(words: int) -> None:
    """One more of every type, in words of 8 bytes."""
    _f32_at(words)[0] += np.float32(0.5)
    _i32_at(words)[2] += 1
    _i64_at(words)[2] += 1
    _u16_at(words)[12] += 1


@jitted
def count(word: int, turns: int) -> int:
    """Add 1 again and again. Returns the value before the last."""
    last = 0
    for _ in range(turns):
        last = int(_fetch_add(word, np.int32(1)))
        _pause()
    return last


@jitted
def look(word: int) -> int:
    return int(_fetch(word))


@jitted
def smooth(row: int, n: int) -> None:
    _gelu(row, n)


@pytest.mark.parametrize("x", [0.0, -0.0, 1.5, -3e38, np.inf, 1e-45])
def test_bits_of_a_float(x: float) -> None:
    value = np.float32(x)
    assert to_bits(float(value)) == int(value.view(np.uint32))
    assert np.float32(back(float(value))).view(np.uint32) == value.view(np.uint32)


def test_numbers_at_an_address() -> None:
    memory: Array = np.zeros(4, np.int64)
    increment(address(memory))
    assert memory[0] == int(np.float32(0.5).view(np.uint32))
    assert memory[1:].tolist() == [1, 1, 1], "at 8, at 16 and at 24 bytes"


def test_no_addition_is_lost() -> None:
    word, turns, wrong = np.zeros(1, np.int32), 20_000, []
    count(address(word), 1)
    word[0] = 0

    def work() -> None:
        if not 0 <= count(address(word), turns) < 4 * turns:
            wrong.append(True)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert look(address(word)) == 4 * turns and not wrong


def test_an_emitted_function_is_called() -> None:
    row = np.zeros(-(-64 // ISA.lanes) * ISA.lanes, np.float32)
    row[:2] = 3.0, -30.0
    smooth(address(row), row.size)
    assert row[0] == pytest.approx(2.99595, abs=1e-4) and abs(row[1]) < 1e-5 and not row[2:].any()
