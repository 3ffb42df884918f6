"""backend="onnxruntime": the network in ONNX Runtime, for comparison and where its kernels suit a CPU better."""

import os
import threading
from typing import Any

from hydrart.engine.onnx_export import export
from hydrart.errors import MissingExtraError
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile


class OnnxEngine:
    """A session per k, made when that k is first asked for; each holds its own weights, as fp32.

    threads: cores a call may use; None: those that this process may run on. Between calls its threads sleep.
    Raises MissingExtraError (extra: onnx).
    """

    name = "onnxruntime"

    def __init__(self, file: WeightFile, threads: int | None) -> None:
        self._runtime = load_runtime("backend='onnxruntime'")
        self._file = file
        self._lock = threading.Lock()
        self._sessions: dict[int, Any] = {}
        self.threads: int = threads or len(os.sched_getaffinity(0))
        self._options = session_options(self._runtime, self.threads)
        # its threads would spin for a while after each call and take the core from whatever comes next
        self._options.add_session_config_entry("session.force_spinning_stop", "1")

    def logits(self, x: FloatArray, k: int) -> FloatArray:
        """[B, C, H, W] -> [B, classes]. Raises HeadsError."""
        return self._run("logits", x, k)

    def features(self, x: FloatArray, k: int) -> FloatArray:
        """[B, C, H, W] -> [B, k * head_dim]. Raises HeadsError."""
        return self._run("features", x, k)

    def _run(self, output: str, x: FloatArray, k: int) -> FloatArray:
        values: FloatArray = self._session(k).run([output], {"input": x})[0]
        return values

    def _session(self, k: int) -> Any:
        session = self._sessions.get(k)
        if session is None:
            with self._lock:
                session = self._sessions.get(k)
                if session is None:
                    model = export(self._file.state(k), self._file.meta.architecture, k).SerializeToString()
                    session = self._runtime.InferenceSession(model, self._options, providers=["CPUExecutionProvider"])
                    self._sessions[k] = session
        return session


def load_runtime(what: str, extra: str = "onnx") -> Any:
    """The module onnxruntime. Raises MissingExtraError: `what` needs it, `extra` has it."""
    try:
        import onnx  # noqa: F401 - the export needs it, and the error should come before the first call
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(what, "onnx and onnxruntime", extra, error) from None
    return onnxruntime


def session_options(runtime: Any, threads: int) -> Any:
    """An onnxruntime.SessionOptions: all optimisations, `threads` cores, silent but for errors."""
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return options
