"""Let the threads of one call wait for each other.

A waiting thread polls for some 50 us, then sleeps in Linux (futex(2)). So other programs get the cores that they need,
and no thread polls while there is no work.

The threads share int32 words. Each has a cache line of its own, LINE bytes from the next. Their offsets:

    ARRIVED   number of threads that have arrived at the barrier
    TURN      number of barriers that all threads have passed
    SLEEPERS  number of threads that sleep until TURN changes
    CALL      number of calls that have begun
    IDLE      number of workers that sleep until CALL changes
    END       not 0 when the workers have to end
"""

import numpy as np

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.intrinsics import fetch, fetch_add, futex_wait, futex_wake, pause

LINE = 64
ARRIVED, TURN, SLEEPERS, CALL, IDLE, END = (LINE * i for i in range(6))
WORDS = 6 * LINE // 4

ONE = np.int32(1)
POLLS = 3000  # polls before a thread sleeps: they take longer than a barrier between busy cores


@kernel
def wait_while(word, value, sleepers):
    """Return when the word has another value. word, sleepers: addresses. sleepers counts the threads that sleep."""
    for _ in range(POLLS):
        if fetch(word) != value:
            return
        pause()
    fetch_add(sleepers, ONE)
    while fetch(word) == value:
        futex_wait(word, value)
    fetch_add(sleepers, -ONE)


@kernel
def barrier(sync, threads):
    """Return when this many threads have called it. sync: address of the words. A single thread leaves them alone."""
    if threads == 1:
        return
    turn = fetch(sync + TURN)
    if fetch_add(sync + ARRIVED, ONE) == threads - 1:
        fetch_add(sync + ARRIVED, np.int32(-threads))
        fetch_add(sync + TURN, ONE)
        if fetch(sync + SLEEPERS):
            futex_wake(sync + TURN)
    else:
        wait_while(sync + TURN, turn, sync + SLEEPERS)
