"""Several looks at the same pictures, and looks that are abandoned."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from hydrart.engine import Engine, make_engine
from hydrart.engine.native import NativeEngine
from hydrart.format.reader import WeightFile
from tests.support.answers import FloatArray, onnx_installed, pictures
from tests.support.networks import SMALL

Make = Callable[..., Path]

DEEP = replace(SMALL, depth=8)
KS = (3, 7, 12)
PRECISIONS = ("fp32", "bf16", "int8")
ENGINES = ["native", "reference", pytest.param("onnxruntime", marks=onnx_installed)]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, make_weights: Make) -> Engine:
    return make_engine(request.param, WeightFile(make_weights(DEEP)), 1)


@pytest.fixture
def all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call takes all threads, however small the network."""
    monkeypatch.setattr("hydrart.engine.native.ThreadCount.threads", lambda self: self._ways[0])


def wanted(engine: Engine, x: FloatArray) -> dict[int, FloatArray]:
    return {k: engine.logits(x, k) for k in KS}


def test_a_look_is_a_call_of_its_own(engine: Engine) -> None:
    x = pictures(DEEP, 3)
    alone = wanted(engine, x)
    with engine.looking(x) as view:
        for k in KS:
            np.testing.assert_array_equal(view.look(k), alone[k])


def test_pictures_drop_out(engine: Engine) -> None:
    x = pictures(DEEP, 4)
    with engine.looking(x) as view:
        assert view.look(3) is not None
        for k, keep in ((7, [0, 2, 3]), (12, [3])):
            np.testing.assert_array_equal(view.look(k, keep), engine_alone(engine, x[keep], k))
        np.testing.assert_array_equal(view.look(12), engine_alone(engine, x[[3]], 12))


def engine_alone(engine: Engine, x: FloatArray, k: int) -> FloatArray:
    """Logits of another engine over the same file, because `looking` has the first for itself."""
    file = getattr(engine, "_file")  # noqa: B009 - the protocol does not have it
    return make_engine(engine.name, file, 1).logits(x, k)


def test_the_first_look_always_ends(engine: Engine) -> None:
    x = pictures(DEEP, 1)
    alone = wanted(engine, x)
    with engine.looking(x) as view:
        engine.stop()
        np.testing.assert_array_equal(view.look(3, deadline=time.perf_counter() - 1), alone[3])
        assert view.look(7) is None


def test_no_look_begins_after_its_deadline_and_the_engine_goes_on(engine: Engine) -> None:
    x = pictures(DEEP, 1)
    alone = wanted(engine, x)
    engine.stop()  # nothing runs, so that nothing is stopped
    with engine.looking(x) as view:
        view.look(3)
        assert view.look(12, deadline=time.perf_counter()) is None
        assert view.look(12, deadline=-1e300) is None
    with engine.looking(x) as view:
        view.look(3)
        np.testing.assert_array_equal(view.look(12, deadline=time.perf_counter() + 1e6), alone[12])
        np.testing.assert_array_equal(view.look(12, deadline=1e300), alone[12])
    np.testing.assert_array_equal(engine.logits(x, 7), alone[7])


def shortest(engine: NativeEngine, x: FloatArray, k: int) -> float:
    """Seconds of the fastest of some calls, because other programs may make any single call long."""
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        engine.logits(x, k)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def random_deadlines(engine: NativeEngine, x: FloatArray, times: int, seed: int = 0) -> Iterator[int]:
    """Abandon second looks at random moments. Yields the blocks that each had done; DEEP.depth if it ended.

    Every first look, and every second one that ends, has the bits of an undisturbed call.
    """
    random, alone, net = Random(seed), wanted(engine, x), engine._network[0]
    took = {k: shortest(engine, x, k) for k in KS}
    for _ in range(times):
        first, second = random.choice(KS), random.choice(KS)
        with engine.looking(x) as view:
            np.testing.assert_array_equal(view.look(first), alone[first])
            answer = view.look(second, deadline=time.perf_counter() + random.uniform(0, 1.2) * took[second])
            done = int(net["blocks_done"])
        assert (answer is None) == bool(net["abandoned"]) == (done < DEEP.depth)
        if answer is not None:
            np.testing.assert_array_equal(answer, alone[second])
        yield done
    for k in KS:
        np.testing.assert_array_equal(engine.logits(x, k), alone[k])


def blocks_after_the_stop(engine: NativeEngine, x: FloatArray, times: int, seed: int = 0) -> Iterator[int]:
    """Stop second looks from another thread at random moments. Yields the blocks that each did afterwards."""
    random, alone, net = Random(seed), wanted(engine, x), engine._network[0]
    took = shortest(engine, x, 12)
    begun, stopped = threading.Semaphore(0), threading.Semaphore(0)
    done_before: list[int] = []

    def stop() -> None:
        for _ in range(times):
            begun.acquire()
            moment = time.perf_counter() + random.uniform(0, 1.2) * took
            while time.perf_counter() < moment:
                pass
            engine.stop()
            done_before.append(int(net["blocks_done"]))
            stopped.release()

    thread = threading.Thread(target=stop)
    thread.start()
    for _ in range(times):
        with engine.looking(x) as view:
            np.testing.assert_array_equal(view.look(3), alone[3])
            begun.release()
            answer = view.look(12)
            done = int(net["blocks_done"])
            stopped.acquire()
        if answer is None:
            yield done - done_before[-1]
        else:
            np.testing.assert_array_equal(answer, alone[12])
    thread.join()


def check(file: WeightFile, threads: int, times: int, stops: int) -> None:
    engine, x = NativeEngine(file, threads), pictures(DEEP, 1)
    done = list(random_deadlines(engine, x, times))
    assert any(0 < blocks < DEEP.depth for blocks in done), "no look was abandoned half-way"
    assert len(done) == times
    after = list(blocks_after_the_stop(engine, x, stops))
    assert after and max(after) <= 1


@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_abandoned_looks_end_within_a_block_and_leave_the_engine_clean(
    make_weights: Make, precision: str, threads: int
) -> None:
    check(WeightFile(make_weights(DEEP, precision)), threads, 100, 30)


@pytest.mark.slow
@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize(("threads", "times", "stops"), [(1, 37_500, 2_500), (2, 9_000, 1_000)])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_hundred_thousand_abandoned_looks(
    make_weights: Make, precision: str, threads: int, times: int, stops: int
) -> None:
    check(WeightFile(make_weights(DEEP, precision)), threads, times, stops)
