"""backend="native": run the compiled kernels on the mapped weight file."""

import contextlib
import ctypes
import mmap
import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.background import Background
from hydrart.engine import MAX_BATCH
from hydrart.engine.kernels import attention, class_tokens, forward, fusion, gemm, merging
from hydrart.engine.kernels.layers import row_bytes
from hydrart.engine.kernels.state import NETWORK, WORK
from hydrart.engine.kernels.threads import WORDS
from hydrart.engine.merging_tables import MergingTables
from hydrart.engine.thread_count import ThreadCount
from hydrart.engine.weights import KernelWeights
from hydrart.errors import SettingError
from hydrart.fork import call_in_children, free_in_children
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile
from hydrart.picture.resample import resample

MAX_THREADS = 64
_PAGE = 4096
_core = ctypes.CDLL(None).sched_getcpu  # the number of the core that runs the calling thread: sched_getcpu(3)
_REST_S = 2e-3  # after so many seconds without a call, the other threads' cores may sleep


class NativeEngine:
    """Run any k on the mapped weights. Calls from several threads take turns.

    threads: number of cores that a call may use; None for all that the process may use. A call uses a single core while
    that is faster: for small networks, or where other programs hold the cores (thread_count.py).
    """

    name = "native"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self.threads = min(threads or len(os.sched_getaffinity(0)), MAX_THREADS)
        self._arch = file.meta.architecture
        self._file = file  # this reference keeps it mapped
        self._weights = KernelWeights(file)
        self._lock = free_in_children(threading.Lock())
        self._run = forward.run.ready()
        self._network: NDArray[Any] = np.zeros(1, NETWORK)
        self._batch = 0
        # by k, tokens that are merged, batch, whether cores may sleep, and whether the call finishes a look
        self._thread_counts: dict[tuple[int, int, int, bool, bool], ThreadCount] = {}
        self._ended = 0.0  # time at which the last call ended
        self._stop = np.zeros(1, np.int32)  # the kernels read it before each block of a call that may be abandoned
        net, arch, weights = self._network[0], self._arch, self._weights
        for name in ("depth", "head_dim", "patch", "channels", "classes"):
            net[name] = getattr(arch, name)
        net["eps"] = arch.layer_norm_eps
        net["norms"], net["norm_channels"] = _address(weights.norms), weights.norm_stride
        net["most_input_tiles"], net["bfloat16"] = self._most_input_tiles(), weights.bfloat16
        net["matrices"], net["tiles"] = _address(weights.matrices), _address(weights.table)
        net["class_token"], net["positions"] = weights.cls_token(), weights.positions
        self._allocate(1)
        self._team: _Team | None = None
        call_in_children(self._renew)

    def _renew(self) -> None:
        """In the child of a fork: another thread of the parent may have been half-way through a call."""
        self._weights.start_anew()
        self._allocate(self._batch)

    def logits(self, x: FloatArray, k: int, merges: Sequence[int] = ()) -> FloatArray:
        """float32 [B, C, H, W] -> logits [B, classes]."""
        out = np.empty((len(x), self._arch.classes), np.float32)
        with self._lock:
            for begin in range(0, len(x), MAX_BATCH):
                part = out[begin : begin + MAX_BATCH]
                self._pass(x[begin : begin + MAX_BATCH], k, merges, classify=True)
                part[:] = self._logits[: len(part), : self._arch.classes]
        return out

    def features(self, x: FloatArray, k: int, merges: Sequence[int] = ()) -> FloatArray:
        """float32 [B, C, H, W] -> the class tokens [B, k * head_dim]."""
        width = self._arch.width(k)
        out = np.empty((len(x), width), np.float32)
        with self._lock:
            for begin in range(0, len(x), MAX_BATCH):
                part = out[begin : begin + MAX_BATCH]
                self._pass(x[begin : begin + MAX_BATCH], k, merges, classify=False)
                part[:] = self._features[: part.size].reshape(part.shape)
        return out

    @contextlib.contextmanager
    def looking(self, x: FloatArray, merges: Sequence[int] = ()) -> Iterator["_Looking"]:
        """Begin to look at float32 [B, C, H, W] again and again. Raises SettingError for B beyond MAX_BATCH."""
        if len(x) > MAX_BATCH:
            raise SettingError(f"{len(x)} pictures are too many for looking: pass at most {MAX_BATCH}")
        with self._lock:
            self._stop[0] = 0
            yield _Looking(self, x, merges)

    def stop(self) -> None:
        """Abandon what `looking` does now, except its first look, within one block."""
        self._stop[0] = 1

    def _look(
        self, pictures: FloatArray, k: int, merges: Sequence[int], may_stop: bool, deadline: float | None
    ) -> FloatArray | None:
        """Logits [B, classes], or None where a call was abandoned. The caller holds the lock."""
        net = self._network[0]
        net["stop"] = _address(self._stop) if may_stop else 0
        net["deadline_ns"] = 0 if deadline is None else int(min(max(deadline, 1e-9), 9e9) * 1e9)
        try:
            self._next(pictures, k, merges, classify=True)
        finally:
            net["stop"] = 0
        return None if net["abandoned"] else self._logits[: len(pictures), : self._arch.classes].copy()

    def _pass(self, pictures: FloatArray, k: int, merges: Sequence[int], classify: bool) -> None:
        """Run all looks up to that of k heads; where each k answers alone, run k. The caller holds the lock."""
        for look in self._arch.heads if self._arch.looks else (k,):
            if look <= k:
                self._next(pictures, look, merges, classify)

    def _next(self, pictures: FloatArray, k: int, merges: Sequence[int], classify: bool) -> None:
        """Run one look, after the one before it. The caller holds the lock."""
        if before := self._arch.before(k):
            self._call(pictures, before, (), classify, finishing=True)
            if self._network[0]["abandoned"]:
                return
        self._call(resample(pictures, self._arch.size(k)), k, merges, classify)

    def _keep(self, places: NDArray[np.intp], k: int) -> None:
        """Put the tokens of the pictures at these places, ascending, in front. k: the heads of the look so far."""
        start = int(self._network[0]["x"])
        size = self._arch.tokens(k) * row_bytes(self._arch.width(k))
        for place, old in enumerate(places.tolist()):
            ctypes.memmove(start + place * size, start + old * size, size)

    def _call(
        self, pictures: FloatArray, k: int, merges: Sequence[int], classify: bool, finishing: bool = False
    ) -> None:
        """Run the kernels. The caller holds the lock.

        finishing: compute only what the look after that of k heads takes over.
        """
        batch = len(pictures)
        if batch > self._batch:
            self._allocate(MAX_BATCH)
        self._weights.prepare(k)
        net = self._network[0]
        for name, value in self._weights.look(k).items():
            net[name] = value
        net["finishing"] = finishing
        net["pictures"] = _address(pictures)
        net["classifier"] = self._weights.classifier(k)
        net["column_sums"], net["fill_sums"] = self._weights.sums(k)
        net["logits"] = _address(self._logits) if classify else 0
        net["merging"] = self._merging.address(merges) if merges else 0
        if self.threads == 1:
            net["threads"] = 1
            self._run(self._network, 0, k, batch)
            return
        if self._team is None or self._team.process != os.getpid():  # threads do not survive a fork
            self._team = _Team(self._run, self._network, self._weights, self.threads)
            net["sync"] = self._team.sync
        self._team.make_way()
        start = time.perf_counter()
        rested = start - self._ended > _REST_S  # sleeping cores take some time to start
        count = self._thread_counts.setdefault((k, sum(merges), batch, rested, finishing), ThreadCount(self.threads))
        net["threads"] = count.threads()
        self._run(self._network, 0, k, batch)
        self._ended = time.perf_counter()
        if not net["abandoned"]:  # an abandoned call says nothing about the speed of the threads
            count.took(self._ended - start)

    def _most_input_tiles(self) -> int:
        """The number of input tiles of the widest matrix."""
        return max(4 * self._arch.heads[-1], -(-self._arch.patch_inputs // self._arch.head_dim))

    def _sizes(self, batch: int) -> dict[str, int]:
        """The bytes of each buffer, for the largest k."""
        arch = self._arch
        p = arch.width(arch.heads[-1])
        tokens = arch.tokens(arch.heads[-1])
        rows = -(-batch * tokens // gemm.ROWS) * gemm.ROWS
        last = -(-batch // gemm.ROWS) * gemm.ROWS  # number of rows of class tokens
        wide = max(row_bytes(4 * p), row_bytes(arch.patch_inputs + arch.head_dim))
        scratch = max(
            attention.attention_scratch_bytes(tokens, arch.head_dim),
            fusion.fusion_scratch_bytes(batch, p),
            class_tokens.class_token_scratch_bytes(batch, tokens, arch.head_dim, p),
            merging.merging_scratch_bytes(tokens, arch.head_dim),
        )
        of_thread = WORK.itemsize + gemm.pack_bytes(self._most_input_tiles()) + scratch + _PAGE
        return {
            "x": rows * row_bytes(p),
            "y": rows * row_bytes(p),
            "qkv": 2 * rows * row_bytes(3 * p),
            "hidden": rows * wide,
            "converted": rows * wide,
            "scales": rows * gemm.ROW_SCALE_BYTES,
            "last_x": last * row_bytes(p),
            "last_y": last * row_bytes(p),
            "last_hidden": last * row_bytes(4 * p),
            "scratch": self.threads * of_thread,
        }

    def _allocate(self, batch: int) -> None:
        """Allocate buffers for this many pictures. Pages that no k touches take no memory."""
        arch, net, sizes = self._arch, self._network[0], self._sizes(batch)
        pages = {name: -(-size // _PAGE) * _PAGE for name, size in sizes.items()}
        # np.zeros may use huge pages, which would make memory resident that a small k never touches
        try:
            memory = mmap.mmap(-1, sum(pages.values()), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError):
            raise MemoryError(f"the activations take {sum(pages.values()) / 1e9:,.1f} GB") from None
        with contextlib.suppress(OSError):  # Linux may be built without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._buffers = np.frombuffer(memory, np.uint8)
        at = _address(self._buffers)
        for name, size in pages.items():
            net[name] = at
            at += size
        net["qkv_bytes"] = sizes["qkv"] // 2
        net["thread_bytes"] = sizes["scratch"] // self.threads // 64 * 64
        last = -(-batch // gemm.ROWS) * gemm.ROWS  # rows of class tokens
        self._logits = np.zeros((last, row_bytes(arch.classes + gemm.GROUP) // 4), np.float32)
        net["logits_row_bytes"] = self._logits.strides[0]
        self._features = np.zeros(batch * arch.width(arch.heads[-1]), np.float32)
        net["features"] = _address(self._features)
        self._merging = MergingTables(arch, batch)
        self._batch = batch


class _Looking:
    """The looks of a NativeEngine at pictures x."""

    def __init__(self, engine: NativeEngine, x: FloatArray, merges: Sequence[int]) -> None:
        self._engine, self._x, self._merges, self._kept = engine, x, merges, np.arange(len(x))
        self._k = 0  # the k of the look before
        self._abandoned = False

    def look(self, k: int, keep: Sequence[int] | None = None, deadline: float | None = None) -> FloatArray | None:
        """Logits [B, classes] of the kept pictures with k heads, or None for a look that was abandoned.

        Raises SettingError where a network of several looks has another look next.
        """
        arch, before = self._engine._arch, self._k
        if self._abandoned:
            return None
        if arch.looks and arch.before(k) != before:
            raise SettingError(f"the look of {k} heads does not follow that of {before}: take the looks in their order")
        if keep is not None:
            kept = np.asarray(keep, np.intp)
            if arch.looks and before:
                self._engine._keep(np.searchsorted(self._kept, kept), before)
            self._kept = kept
        self._k = k
        if not len(self._kept):
            return np.empty((0, arch.classes), np.float32)
        x = self._x if len(self._kept) == len(self._x) else self._x[self._kept]
        logits = self._engine._look(x, k, self._merges, bool(before), deadline)
        self._abandoned = logits is None
        return logits


class _Team:
    """Threads that take part in calls. They sleep between calls, and end with the engine.

    They do not run on the core of the calling thread. Linux would wake them there, and leave them for milliseconds.

    sync: address of the words of threads.py. process: id of their process.
    """

    def __init__(self, run: Any, network: NDArray[Any], weights: KernelWeights, threads: int) -> None:
        words = np.zeros(WORDS, np.int32)
        self.sync, self.process = _address(words), os.getpid()
        network[0]["sync"] = self.sync
        # a record of its own, because the network's may be gone when the workers have to end
        ending = np.zeros(1, NETWORK)
        ending[0]["sync"] = self.sync
        read = (network, weights.matrices, weights.table, words)
        self._threads = [
            Background(f"worker-{thread}", _work, run, network, thread, read) for thread in range(1, threads)
        ]
        for worker in self._threads:
            worker.start()
        self._core = -1
        weakref.finalize(self, _dismiss, run, ending, words, self.process)

    def make_way(self) -> None:
        """Move the workers away from the core of this thread, which is about to make a call."""
        core = _core()
        if core == self._core:
            return
        self._core = core
        if others := os.sched_getaffinity(0) - {core}:
            for worker in self._threads:
                with contextlib.suppress(OSError):  # it is not allowed, or the thread has ended
                    os.sched_setaffinity(worker.native_id or 0, others)


def _work(run: Any, network: NDArray[Any], thread: int, read: tuple[Any, ...]) -> None:
    """Run a worker until it has to end. read: the arrays whose addresses it reads; this argument keeps them alive."""
    run(network, thread, 0, 0)


def _dismiss(run: Any, ending: Any, words: Any, process: int) -> None:
    """End the workers. words: the array of the shared words; this argument keeps it alive."""
    if process == os.getpid():
        run(ending, -1, 0, 0)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
