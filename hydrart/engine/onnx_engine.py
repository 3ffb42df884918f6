"""backend="onnxruntime": run the network in ONNX Runtime, to compare it, or where it is faster on a CPU."""

import ctypes
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from hydrart.engine.looking import SeparateLooks
from hydrart.engine.onnx_nested import HEADS_INPUT, export_nested
from hydrart.errors import SettingError, import_extra
from hydrart.fork import call_in_children, free_in_children
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile


class OnnxEngine(SeparateLooks):
    """Keep one session, whose model slices its weights for every k. It holds those of the largest k so far, in fp32.

    threads: number of cores that a call may use; None for all that the process may use. The threads sleep between
    calls. Raises MissingExtraError (extra: onnx).
    """

    name = "onnxruntime"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self._runtime = load_runtime("backend='onnxruntime'")
        self._file, self._arch = file, file.meta.architecture
        self._lock = free_in_children(threading.Lock())
        self._session: tuple[int, Any] = (0, None)  # its largest k, and the session
        self.threads: int = threads or len(os.sched_getaffinity(0))
        self._options = session_options(self._runtime, self.threads)
        # without it, its threads spin for a while after each call and take the cores from other work
        self._options.add_session_config_entry("session.force_spinning_stop", "1")
        # a plan of the memory would keep room for the slices of all weights at once
        self._options.enable_mem_pattern = False
        call_in_children(self._renew)

    def _renew(self) -> None:
        """In the child of a fork: the threads of the session are not there, and their end would be waited for."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session[1]))  # so that it is never ended
        self._session = (0, None)

    def logits(self, x: FloatArray, k: int, merges: Sequence[int] = ()) -> FloatArray:
        """float32 [B, C, H, W] -> logits [B, classes]. Raises HeadsError, SettingError."""
        return self._run("logits", x, k, merges)

    def features(self, x: FloatArray, k: int, merges: Sequence[int] = ()) -> FloatArray:
        """float32 [B, C, H, W] -> the class tokens [B, k * head_dim]. Raises HeadsError, SettingError."""
        return self._run("features", x, k, merges)

    def _run(self, output: str, x: FloatArray, k: int, merges: Sequence[int]) -> FloatArray:
        if merges:
            raise SettingError("backend='onnxruntime' merges no tokens: leave merge out, or use backend='native'")
        values: FloatArray = self._session_of(k).run([output], {"input": x, HEADS_INPUT: np.array(k, np.int64)})[0]
        return values

    def _session_of(self, k: int) -> Any:
        """A session whose model has k heads or more."""
        most, session = self._session
        if self._arch.check_k(k) > most:
            with self._lock:
                most, session = self._session
                if k > most:
                    self._session = (0, None)  # otherwise both would be in memory
                    del session
                    session = self._made(k)
                    self._session = (k, session)
        return session

    def _made(self, k: int) -> Any:
        # a session keeps the bytes that it is made of, so it gets a file, which is in memory until it has been read
        with open(os.memfd_create("hydrart.onnx"), "wb") as file:
            file.write(export_nested(self._file.state(k), self._arch, k).SerializeToString())
            file.flush()
            path = f"/proc/self/fd/{file.fileno()}"
            return self._runtime.InferenceSession(path, self._options, providers=["CPUExecutionProvider"])


def load_runtime(what: str, extra: str = "onnx") -> Any:
    """Import onnxruntime. what: the feature that needs it; extra: of hydrart. Raises MissingExtraError."""
    import_extra("onnx", what, "onnx", extra)  # the export needs it, and the error should come before the first call
    return import_extra("onnxruntime", what, "onnxruntime", extra)


def session_options(runtime: Any, threads: int) -> Any:
    """An onnxruntime.SessionOptions with all optimisations and this many threads, which logs only errors."""
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
