"""How the threads of one call wait for each other.

A thread that waits looks for a while, some 50 us, then sleeps in the kernel (futex(2)). A core that another program
has taken gets the time it needs, and nothing spins while there is no work.

The words that threads share are int32 and lie LINE bytes apart, each in a cache line of its own. Their offsets:

    ARRIVED   threads that have arrived at the barrier
    TURN      barriers that all threads have passed
    SLEEPERS  threads that sleep until TURN changes
    CALL      calls that have begun
    IDLE      workers that sleep until CALL changes
    END       not 0: workers shall end
"""

import numpy as np

from hydrart.codegen.jit import kernel
from hydrart.engine.kernels.intrinsics import fetch, fetch_add, futex_wait, futex_wake, pause

LINE = 64
ARRIVED, TURN, SLEEPERS, CALL, IDLE, END = (LINE * i for i in range(6))
WORDS = 6 * LINE // 4

ONE = np.int32(1)
LOOKS = 3000  # turns of the waiting loop before sleep: longer than a barrier between busy cores takes


@kernel
def wait_while(word, value, sleepers):
    """Return when the word has another value. word, sleepers: addresses; sleepers counts those that sleep on it."""
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
    """Return when so many threads have called it. sync: address of the words; one thread alone does not touch them."""
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
