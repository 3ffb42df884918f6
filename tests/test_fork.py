"""Models in other processes: children of a fork, and spawned ones."""

import importlib.util
import multiprocessing
import os
import pickle
import re
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import hydrart
from hydrart.fork import call_in_children, free_in_children
from tests.support.commands import PATIENCE_S

Make = Callable[..., Path]

NEEDS_ONNX = pytest.mark.skipif(
    not (importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime")),
    reason="onnx and onnxruntime are not installed (extra: onnx)",
)
X = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)


@contextmanager
def busy(model: hydrart.Model) -> Iterator[None]:
    """Other threads use the model all the time."""
    stop = threading.Event()

    def work(k: int) -> None:
        while not stop.is_set():
            model.logits(X, k)

    threads = [threading.Thread(target=work, args=(k,)) for k in (3, 7, 12)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def child(answer: Callable[[], bool]) -> int:
    """The exit code of a forked child: 0 where the answer is right. A child that hangs is killed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if answer() else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    pytest.fail("the child hangs")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on warns of fork beside threads
@pytest.mark.parametrize(
    ("backend", "precision", "threads"),
    [
        ("native", "fp32", 1),
        ("native", "int8", 2),
        ("reference", "fp32", None),
        pytest.param("onnxruntime", "fp32", 2, marks=NEEDS_ONNX),
    ],
)
def test_a_fork_while_other_threads_infer(
    backend: str, precision: str, threads: int | None, make_weights: Make
) -> None:
    path = make_weights(precision=precision)
    expected = {k: hydrart.load(path, precision=precision, backend=backend).logits(X, k) for k in (3, 7, 12)}

    def right() -> bool:
        return all(np.allclose(model.logits(X, k), wanted, atol=1e-5) for k, wanted in expected.items())

    model = hydrart.load(path, precision=precision, threads=threads, backend=backend)
    with busy(model):
        assert [child(right) for _ in range(6)] == [0] * 6
    assert right(), "the parent goes on"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_locks_that_another_thread_holds_are_free_in_the_child() -> None:
    lock, condition, event = (
        free_in_children(threading.Lock()),
        free_in_children(threading.Condition()),
        free_in_children(threading.Event()),
    )
    event.set()
    held, stop = threading.Event(), threading.Event()

    def hold() -> None:
        with lock, condition, event._cond:  # type: ignore[attr-defined]
            held.set()
            stop.wait()

    class Counter:
        calls = 0

        def count(self) -> None:
            self.calls += 1

    counter, gone = Counter(), Counter()
    call_in_children(counter.count)
    call_in_children(gone.count)
    del gone  # which is not called, and not kept
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def free() -> bool:
        with lock, condition:
            was_set = event.is_set()
            event.set()
            return was_set and counter.calls == 1

    assert child(free) == 0 and counter.calls == 0
    stop.set()
    thread.join()


def test_every_lock_of_the_package_is_free_in_children() -> None:
    package = Path(hydrart.__file__).parent
    pattern = re.compile(r"threading\.(?:Lock|RLock|Condition|Event|Semaphore|BoundedSemaphore)\(\)")
    for path in package.rglob("*.py"):
        text = path.read_text("utf-8")
        assert len(pattern.findall(text)) == text.count("free_in_children(threading."), path


def _logits(model: hydrart.Model, x: NDArray[np.float32]) -> tuple[int, NDArray[np.float32], str, int]:
    return os.getpid(), model.logits(x, 5), model.backend, model.threads


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_model_goes_to_another_process(method: str, weights: Path) -> None:
    model = hydrart.load(weights, threads=1)
    with multiprocessing.get_context(method).Pool(1) as pool:
        pid, logits, backend, threads = pool.apply(_logits, (model, X))
    assert pid != os.getpid() and (backend, threads) == ("native", 1)
    np.testing.assert_array_equal(logits, model.logits(X, 5))


@pytest.mark.parametrize("settings", [{}, {"backend": "reference"}, {"precision": "int8", "threads": 2}])
def test_a_pickled_model_opens_its_file_again(
    settings: dict[str, object], make_weights: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_weights(precision=str(settings.get("precision", "fp32")))
    monkeypatch.chdir(path.parent)
    model = hydrart.load(path.name, **settings)  # type: ignore[arg-type]
    data = pickle.dumps(model)
    assert len(data) < 1000, "no weights in it"
    monkeypatch.chdir(tmp_path)
    again = pickle.loads(data)
    assert (again.precision, again.backend, again.threads) == (model.precision, model.backend, model.threads)
    np.testing.assert_array_equal(again.logits(X, 5), model.logits(X, 5))
    answer = model(np.zeros((8, 8, 3), np.uint8))
    assert pickle.loads(pickle.dumps(answer)).label == answer.label


def frames() -> Iterator[NDArray[np.uint8]]:
    for i in range(40):
        time.sleep(0.005)
        yield np.full((8, 8, 3), i, np.uint8)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("kept", ["latest", "all"])
def test_a_stream_stays_with_its_process(begun: bool, kept: str, model: hydrart.Model) -> None:
    """A child neither waits for ever nor takes frames away. What it closes stays open in the parent."""

    class Source:
        name, detail, live, fps, skipped = "topic", "", True, None, 0

        def shots(self) -> Iterator[hydrart.Shot]:
            return (hydrart.Shot(picture) for picture in frames())

        def close(self) -> None:
            os.write(closed, b"x")

    reading, closed = os.pipe()
    with hydrart.Stream(Source(), model, frames=kept, fps=200, keep_frame=True, measure=False) as stream:
        results = iter(stream)
        first = [next(results)] if begun else []

        def refuses() -> bool:
            for attempt in (lambda: next(results), lambda: next(iter(stream)), lambda: pickle.dumps(stream)):
                try:
                    attempt()
                except hydrart.HydrartError as error:
                    if not re.search(r"belongs to process \d+: open one in this|cannot be sent to another", str(error)):
                        return False
                except StopIteration:
                    if not begun:
                        return False
                else:
                    return False
            stream.close()
            return True

        assert child(refuses) == 0
        assert not select.select([reading], [], [], 0)[0], "the source is open"
        found = first + list(results)
    assert 30 < found[-1].frame < 40, "the governor may drop the last"
    assert kept == "latest" or len(found) == 40
    if kept == "all":
        assert [int(result.picture[0, 0, 0]) for result in found if result.picture is not None] == list(range(40))
    os.close(reading)
    os.close(closed)
