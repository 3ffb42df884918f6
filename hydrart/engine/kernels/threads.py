"""Meeting points of the threads that share one call.

Who waits looks a little while, then sleeps in the kernel (futex): a core that another program has taken is given the
time it needs, and nothing turns while there is no work.

The words, int32 each, a cache line apart: how many have arrived, the turn, how many sleep on the turn, the number of
the call, how many sleep on that, whether the workers shall end.
"""

import numpy as np

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.intrinsics import fetch, fetch_add, futex_wait, futex_wake, pause

LINE = 64
ARRIVED, TURN, SLEEPERS, CALL, IDLE, END = (LINE * i for i in range(6))
WORDS = 6 * LINE // 4

ONE = np.int32(1)
LOOKS = 3000  # turns of the waiting loop before sleep, some 50 us: longer than a barrier between busy cores takes


@kernel
def wait_while(word, value, sleepers):
    """Return when the word has another value; `sleepers` counts who sleeps on it."""
    for _ in range(LOOKS):
        if fetch(word) != value:
            return
        pause()
    fetch_add(sleepers, ONE)
    while fetch(word) == value:
        futex_wait(word, value)
    fetch_add(sleepers, -ONE)


@kernel
def barrier(sync, threads):
    """Wait until all threads are here."""
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
