"""How many threads a call takes."""

from hydrart.engine.thread_count import FIRST, LONGEST, ThreadCount


def run(count: ThreadCount, calls: int, both: float, one: float) -> list[int]:
    """Calls that take `both` seconds with two threads and `one` with one; returns how many threads each took."""
    taken = []
    for _ in range(calls):
        taken.append(count.threads())
        count.took(both if taken[-1] == 2 else one)
    return taken


def test_all_threads_stay_while_they_are_faster() -> None:
    count = ThreadCount(2)
    assert run(count, 6, 1.0, 1.9) == [2, 2, 2, 1, 1, 1]
    assert set(run(count, 1000, 1.0, 1.9)) == {2}


def test_one_thread_stays_where_all_are_slower_and_trials_become_rare() -> None:
    count = ThreadCount(2)
    run(count, 6, 1.2, 1.0)
    taken = run(count, 2000, 1.2, 1.0)
    assert taken[:FIRST] == [1] * FIRST
    assert taken[-LONGEST:].count(2) <= 3
    assert taken.count(2) < 100


def test_a_co_runner_is_noticed_within_a_few_calls_and_its_end_too() -> None:
    count = ThreadCount(2)
    run(count, 100, 1.0, 1.9)
    busy = run(count, 50, 3.0, 2.0)
    assert busy[:3] == [2, 2, 2]
    assert busy.count(2) <= 10
    assert set(busy[-10:]) == {1}
    quiet = run(count, 2 * LONGEST, 1.0, 1.9)
    assert set(quiet[-50:]) == {2}


def test_a_slow_moment_for_both_ways_does_not_flip_the_choice() -> None:
    count = ThreadCount(2)
    run(count, 100, 1.0, 1.9)
    run(count, 20, 2.2, 4.0)  # everything slower: a hot CPU
    assert set(run(count, 20, 2.2, 4.0)) <= {1, 2}
    assert count.threads() == 2


def test_a_core_that_takes_milliseconds_to_wake_is_waited_for() -> None:
    count = ThreadCount(2)
    for _ in range(20):  # bursts of calls; the first of each are slow with two threads
        slow = run(count, 7, 0.6e-3, 0.35e-3)
        fast = run(count, 60, 0.22e-3, 0.35e-3)
    assert set(slow + fast) == {2}


def test_every_second_call_being_fast_is_not_fast() -> None:
    """As where another program has a core: it is given up for one call, and not for the next."""
    count = ThreadCount(2)
    run(count, 100, 2.1e-3, 3.5e-3)
    taken = []
    for _ in range(600):
        taken += run(count, 1, 2.1e-3, 3.5e-3) + run(count, 1, 8e-3, 3.5e-3)
    assert taken[-1000:].count(2) < 100


def test_a_slow_call_now_and_then_is_no_reason_to_try_one_thread() -> None:
    count = ThreadCount(2)
    run(count, 100, 2.0e-3, 3.5e-3)
    taken = []
    for _ in range(50):
        taken += run(count, 20, 2.0e-3, 3.5e-3) + run(count, 1, 50e-3, 70e-3)
    assert set(taken) == {2}
