"""backend="native": the kernels over the mapped weight file."""

import contextlib
import ctypes
import mmap
import os
import threading
import time
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.engine.kernels import forward, gemm
from hydrart.engine.kernels.attention import scratch_bytes
from hydrart.engine.kernels.state import NETWORK
from hydrart.engine.kernels.threads import WORDS
from hydrart.engine.pace import Pace
from hydrart.engine.weights import KernelWeights
from hydrart.format.reader import WeightFile

FloatArray = NDArray[np.float32]

MAX_BATCH = 8  # pictures that pass the network together
MAX_THREADS = 64
_PAGE = 4096
_core = ctypes.CDLL(None).sched_getcpu  # the number of the core that runs this, sched_getcpu(3)
_REST_S = 2e-3  # without a call, after which the other threads' cores may sleep


class NativeEngine:
    """Runs any k on the weights where they are mapped. Calls from several threads take turns.

    threads: how many cores a call may use, None for all that this process may run on. Fewer are used while that is
    faster: for small networks, or where other programs hold the cores (pace.py).
    """

    name = "native"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self.threads = min(threads or len(os.sched_getaffinity(0)), MAX_THREADS)
        self._arch = file.meta.architecture
        self._file = file  # keeps it mapped
        self._weights = KernelWeights(file)
        self._lock = threading.Lock()
        self._run = forward.run.ready()
        self._network: NDArray[Any] = np.zeros(1, NETWORK)
        self._batch = 0
        self._pace: dict[tuple[int, int, bool], Pace] = {}
        self._ended = 0.0  # when the last call did
        net, arch, weights = self._network[0], self._arch, self._weights
        for name in ("depth", "head_dim", "tokens", "image_size", "patch", "channels", "classes"):
            net[name] = getattr(arch, name)
        net["eps"] = arch.layer_norm_eps
        net["norms"], net["norm_stride"] = _address(weights.norms), weights.norm_stride
        net["most_blocks"], net["short"] = self._most_blocks(), weights.short
        net["cls_token"], net["positions"] = weights.cls_token(), weights.positions
        self._allocate(1)
        self._team: _Team | None = None

    def logits(self, x: FloatArray, k: int) -> FloatArray:
        """[B, C, H, W] -> [B, classes]."""
        out = np.empty((len(x), self._arch.classes), np.float32)
        with self._lock:
            for begin in range(0, len(x), MAX_BATCH):
                part = out[begin : begin + MAX_BATCH]
                self._call(x[begin : begin + MAX_BATCH], k, classify=True)
                part[:] = self._logits[: len(part), : self._arch.classes]
        return out

    def features(self, x: FloatArray, k: int) -> FloatArray:
        """[B, C, H, W] -> [B, k * head_dim]."""
        width = self._arch.width(k)
        out = np.empty((len(x), width), np.float32)
        with self._lock:
            for begin in range(0, len(x), MAX_BATCH):
                part = out[begin : begin + MAX_BATCH]
                self._call(x[begin : begin + MAX_BATCH], k, classify=False)
                part[:] = self._features[: part.size].reshape(part.shape)
        return out

    def _call(self, pictures: FloatArray, k: int, classify: bool) -> None:
        """The lock is held."""
        batch = len(pictures)
        if batch > self._batch:
            self._allocate(MAX_BATCH)
        self._weights.prepare(k)
        net = self._network[0]
        net["pictures"] = _address(pictures)
        net["classifier"] = self._weights.classifier(k)
        net["sums"], net["fill_sums"] = self._weights.sums(k)
        net["logits"] = _address(self._logits) if classify else 0
        if self.threads == 1:
            net["threads"] = 1
            self._run(self._network, self._weights.matrices, self._weights.table, 0, k, batch)
            return
        if self._team is None or self._team.process != os.getpid():  # threads do not survive a fork
            self._team = _Team(self._run, self._network, self._weights, self.threads)
            net["sync"] = self._team.sync
        self._team.make_way()
        start = time.perf_counter()
        rested = start - self._ended > _REST_S  # cores that slept take their time to start
        pace = self._pace.setdefault((k, batch, rested), Pace(self.threads))
        net["threads"] = pace.threads()
        self._run(self._network, self._weights.matrices, self._weights.table, 0, k, batch)
        self._ended = time.perf_counter()
        pace.took(self._ended - start)

    def _most_blocks(self) -> int:
        """Input blocks of the widest matrix."""
        return max(4 * self._arch.heads[-1], -(-self._arch.patch_inputs // self._arch.head_dim))

    def _allocate(self, batch: int) -> None:
        """Buffers for the largest k; pages that no k touches take no memory."""
        arch, net, row = self._arch, self._network[0], forward.row_bytes
        p = arch.width(arch.heads[-1])
        rows = -(-batch * arch.tokens // gemm.ROWS) * gemm.ROWS
        last = -(-batch // gemm.ROWS) * gemm.ROWS
        wide = max(row(4 * p), row(arch.patch_inputs + arch.head_dim))
        finish = last * (row(p) + row(arch.head_dim) + row(4 * p) + 64) + arch.tokens * 4 + _PAGE
        scratch = gemm.pack_bytes(self._most_blocks()) + max(finish, scratch_bytes(arch.tokens, arch.head_dim)) + _PAGE
        sizes = {
            "x": rows * row(p),
            "y": rows * row(p),
            "qkv": 2 * rows * row(3 * p),
            "hidden": rows * wide,
            "converted": rows * wide,
            "scales": rows * 8,
            "last_x": last * row(p),
            "last_y": last * row(p),
            "last_hidden": last * row(4 * p),
            "scratch": self.threads * scratch,
        }
        pages = {name: -(-size // _PAGE) * _PAGE for name, size in sizes.items()}
        # not np.zeros: huge pages would make pages resident that a small k never touches
        memory = mmap.mmap(-1, sum(pages.values()), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._buffers = np.frombuffer(memory, np.uint8)
        at = _address(self._buffers)
        for name, size in pages.items():
            net[name] = at
            at += size
        net["qkv_bytes"] = rows * row(3 * p)
        net["scratch_bytes"] = scratch // 64 * 64
        self._logits = np.zeros((last, row(arch.classes + gemm.GROUP) // 4), np.float32)
        net["logits_bytes"] = self._logits.strides[0]
        self._features = np.zeros(batch * p, np.float32)
        net["features"] = _address(self._features)
        self._batch = batch


class _Team:
    """Threads that take part in calls; they sleep between them, and end with the engine.

    They keep off the core of the thread that calls: Linux would wake them there, and leave them for milliseconds.

    sync: address of the words of threads.py. process: the id of the process that they live in.
    """

    def __init__(self, run: Any, network: NDArray[Any], weights: KernelWeights, threads: int) -> None:
        words = np.zeros(WORDS, np.int32)
        self.sync, self.process = _address(words), os.getpid()
        network[0]["sync"] = self.sync
        # a record of its own: the network's may have gone when the workers are told to end
        told = np.zeros(1, NETWORK)
        told[0]["sync"] = self.sync
        self._threads = [
            threading.Thread(
                target=_work,
                args=(run, network, weights.matrices, weights.table, thread, words),
                name=f"hydrart-{thread}",
                daemon=True,
            )
            for thread in range(1, threads)
        ]
        for worker in self._threads:
            worker.start()
        self._core = -1
        weakref.finalize(self, _dismiss, run, told, weights.matrices, weights.table, words, self.process)

    def make_way(self) -> None:
        """Leave the core that this thread, which is about to call, runs on."""
        core = _core()
        if core == self._core:
            return
        self._core = core
        if others := os.sched_getaffinity(0) - {core}:
            for worker in self._threads:
                with contextlib.suppress(OSError):  # not allowed, or it has ended
                    os.sched_setaffinity(worker.native_id or 0, others)


def _work(
    run: Any, network: NDArray[Any], matrices: NDArray[Any], table: NDArray[Any], thread: int, words: Any
) -> None:
    """What a worker does; its arguments keep alive what it reads."""
    run(network, matrices, table, thread, 0, 0)


def _dismiss(run: Any, told: Any, matrices: Any, table: Any, words: Any, process: int) -> None:
    if process == os.getpid():
        run(told, matrices, table, -1, 0, 0)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
