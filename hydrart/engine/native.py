"""backend="native": the kernels over the mapped weight file."""

import os
import threading
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.engine.kernels import forward, gemm
from hydrart.engine.kernels.attention import scratch_bytes
from hydrart.engine.kernels.state import NETWORK
from hydrart.engine.kernels.threads import CALL, END, WORDS
from hydrart.engine.weights import KernelWeights
from hydrart.weightfile import WeightFile

FloatArray = NDArray[np.float32]

MAX_BATCH = 8  # pictures that pass the network together
_LINE = 64


class NativeEngine:
    """Runs any k on the weights where they are mapped.

    threads: how many cores a call may use. Calls from several threads take turns.
    """

    name = "native"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self.threads = threads or len(os.sched_getaffinity(0))
        self._arch = file.meta.architecture
        self._weights = KernelWeights(file)
        self._file = file  # keeps it mapped
        self._lock = threading.Lock()
        self._network: NDArray[Any] = np.zeros(1, NETWORK)
        self._sync = np.zeros(WORDS, np.int32)
        self._batch = 0
        self._buffers: NDArray[np.uint8]
        self._logits: FloatArray
        arch, weights, net = self._arch, self._weights, self._network[0]
        for name in ("depth", "head_dim", "tokens", "image_size", "patch", "channels", "classes"):
            net[name] = getattr(arch, name)
        net["eps"] = arch.layer_norm_eps
        net["norms"], net["norm_stride"] = _address(weights.norms), weights.norm_stride
        net["cls_token"], net["positions"] = weights.cls_token(), weights.positions
        net["sync"], net["threads"] = _address(self._sync), self.threads
        self._allocate(1)
        self._run: Any = None

    def logits(self, x: FloatArray, k: int) -> FloatArray:
        """[B, C, H, W] -> [B, classes]."""
        out = np.empty((len(x), self._arch.classes), np.float32)
        self._calls(x, k, None, out)
        return out

    def features(self, x: FloatArray, k: int) -> FloatArray:
        """[B, C, H, W] -> [B, k * head_dim]."""
        out = np.empty((len(x), self._arch.width(k)), np.float32)
        self._calls(x, k, out, None)
        return out

    def _calls(self, x: FloatArray, k: int, features: FloatArray | None, logits: FloatArray | None) -> None:
        with self._lock:
            if self._run is None:
                self._run = forward.run.ready()
                self._start_workers()
            if len(x) > self._batch and self._batch < MAX_BATCH:
                self._allocate(min(MAX_BATCH, len(x)))
            self._weights.prepare(k)
            net = self._network[0]
            net["classifier"] = self._weights.classifier(k)
            net["logits"] = 0 if logits is None else _address(self._logits)
            for begin in range(0, len(x), MAX_BATCH):
                part = x[begin : begin + MAX_BATCH]
                net["pictures"] = _address(part)
                self._run(self._network, self._weights.matrices, self._weights.table, 0, k, len(part))
                if logits is not None:
                    logits[begin : begin + MAX_BATCH] = self._logits[: len(part), : self._arch.classes]
                if features is not None:
                    width = self._arch.width(k)
                    features[begin : begin + MAX_BATCH] = self._features[: len(part) * width].reshape(-1, width)

    def _allocate(self, batch: int) -> None:
        """Buffers for the largest k; pages that no k touches take no memory."""
        arch, net = self._arch, self._network[0]
        p = arch.width(arch.heads[-1])
        rows = -(-batch * arch.tokens // gemm.ROWS) * gemm.ROWS
        last = -(-batch // gemm.ROWS) * gemm.ROWS
        row = forward.row_bytes
        inputs = arch.patch_inputs + arch.head_dim
        wide = max(row(4 * p), row(inputs))
        finish = last * (row(p) + row(arch.head_dim) + row(4 * p) + 64) + arch.tokens * 4 + 4096
        scratch = gemm.PACK_BYTES + max(finish, scratch_bytes(arch.tokens, arch.head_dim)) + 4096
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
        aligned = {name: -(-size // 4096) * 4096 for name, size in sizes.items()}
        self._buffers = np.zeros(sum(aligned.values()) + 4096, np.uint8)
        at = -(-_address(self._buffers) // _LINE) * _LINE
        for name, size in aligned.items():
            net[name] = at
            at += size
        net["qkv_bytes"] = rows * row(3 * p)
        net["scratch_bytes"] = scratch // _LINE * _LINE
        self._logits = np.zeros((last, row(-(-arch.classes // 64) * 64 + gemm.GROUP) // 4), np.float32)
        net["logits_bytes"] = self._logits.strides[0]
        self._features = np.zeros(batch * p, np.float32)
        net["features"] = _address(self._features)
        self._batch = batch

    def _start_workers(self) -> None:
        for thread in range(1, self.threads):
            threading.Thread(
                target=self._run,
                args=(self._network, self._weights.matrices, self._weights.table, thread, 0, 0),
                name=f"hydrart-{thread}",
                daemon=True,
            ).start()


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
