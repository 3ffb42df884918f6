"""How threads wait for each other: nobody passes early, nobody is forgotten, who sleeps takes no CPU."""

import threading
import time

import numpy as np
import pytest

from hydrart.engine.kernels import threads
from hydrart.engine.kernels.intrinsics import fetch, fetch_add, futex_wake
from tests.support.jitted import jitted
from tests.support.products import Array, address

TURNS = 300
_barrier, _wait_while = threads.barrier, threads.wait_while
_ONE = threads.ONE


@jitted
def meet(sync: int, count: int, turns: int, mine: int, all_words: int, wrong: int) -> None:
    """Count up, meet the others, look whether each has counted as far, meet again."""
    for turn in range(1, turns + 1):
        fetch_add(all_words + mine * 64, _ONE)
        _barrier(sync, count)
        for other in range(count):
            if fetch(all_words + other * 64) != turn:
                fetch_add(wrong, _ONE)
        _barrier(sync, count)


@jitted
def wait(word: int, value: int, sleepers: int) -> None:
    _wait_while(word, np.int32(value), sleepers)


@jitted
def change(word: int) -> None:
    fetch_add(word, _ONE)
    futex_wake(word)


def words(count: int = threads.WORDS) -> tuple[Array, int]:
    """int32 in cache lines of their own, and their address."""
    memory = np.zeros(count + 32, np.int32)
    at = -(address(memory) // 4) % 16
    return memory, address(memory) + 4 * at


@pytest.mark.parametrize("count", [2, 3, 5])
def test_nobody_passes_a_barrier_early(count: int) -> None:
    memory, sync = words()
    counters, at = words(16 * count)
    wrong = np.zeros(1, np.int32)
    others = [threading.Thread(target=meet, args=(sync, count, TURNS, i, at, address(wrong))) for i in range(count)]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong[0] == 0
    assert counters.max() == TURNS
    # arrivals and sleepers are back at 0; 2 barriers a turn
    used = memory[(sync - address(memory)) // 4 :]
    assert used[threads.ARRIVED // 4] == used[threads.SLEEPERS // 4] == 0
    assert used[threads.TURN // 4] == 2 * TURNS


def test_one_thread_waits_for_nobody() -> None:
    memory, sync = words()
    wrong, (_, at) = np.zeros(1, np.int32), words(16)
    meet(sync, 1, 5, 0, at, address(wrong))
    assert not memory.any()


def test_a_value_that_has_changed_is_not_waited_for() -> None:
    memory, at = words()
    wait(at, 1, at + 64)
    assert not memory.any()


def test_who_waits_long_sleeps_and_is_woken() -> None:
    memory, at = words()
    word, sleepers = (memory[(at - address(memory)) // 4 + i :] for i in (0, 16))
    waiting = threading.Thread(target=wait, args=(at, 0, at + 64))
    waiting.start()
    deadline = time.monotonic() + 30
    while not sleepers[0] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sleepers[0] == 1
    before = time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID)
    time.sleep(0.3)
    assert time.clock_gettime(time.CLOCK_PROCESS_CPUTIME_ID) - before < 0.15
    assert waiting.is_alive()
    change(at)
    waiting.join(30)
    assert not waiting.is_alive()
    assert (word[0], sleepers[0]) == (1, 0)


def test_the_words_lie_in_cache_lines_of_their_own() -> None:
    offsets = (threads.ARRIVED, threads.TURN, threads.SLEEPERS, threads.CALL, threads.IDLE, threads.END)
    assert len({offset // 64 for offset in offsets}) == len(offsets)
    assert max(offsets) + 4 <= 4 * threads.WORDS
