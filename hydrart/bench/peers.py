"""Other runtimes over the same weight file, each set up to run as fast as it can with batch 1.

They compute the network as hydrart does, the last block for the class token alone, or "plain": every token to the end,
as in a graph that PyTorch's exporter wrote, which takes longer. Their thread pools spin for some milliseconds after a
call: who times one after another should sleep and call once untimed before each turn.
"""

import importlib
import io
import logging
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hydrart.bench.torch_network import network
from hydrart.engine.onnx_engine import load_runtime, session_options
from hydrart.engine.onnx_export import attention_nodes, export
from hydrart.errors import MissingExtraError, SettingError
from hydrart.format.reader import WeightFile

FloatArray = NDArray[np.float32]
Run = Callable[[FloatArray], FloatArray]

CALIBRATION_PICTURES = 16


class Peer(Protocol):
    """A runtime at a precision.

    name, version: the runtime; precision: what was asked for; executed: what the linear layers were found to compute
    in by the last prepare ("" before), "fp32/int8" where they differ; threads: cores that a call uses; plain: whether
    the last block computes every token.
    """

    name: str
    version: str
    precision: str
    executed: str
    threads: int
    plain: bool

    def prepare(self, k: int) -> Run:
        """The network of k heads: float32 [1, C, H, W], C-contiguous and writable -> logits float32 [1, classes].

        The logits may be overwritten by the next call. Raises HeadsError, SettingError (too large for ONNX).
        """


class OnnxRuntimePeer:
    """ONNX Runtime. int8: its dynamic quantisation, every linear layer, one scale per tensor.

    Dynamic: on AVX2 it was measured to be no slower than static QDQ, and it needs no calibration. The attention's own
    products stay fp32.
    """

    name = "onnxruntime"
    precisions = ("fp32", "int8")

    def __init__(self, file: WeightFile, precision: str, threads: int, plain: bool) -> None:
        self._runtime = load_runtime("the comparison with ONNX Runtime", "bench")
        self._file = file
        self.version: str = self._runtime.__version__
        self.precision, self.executed, self.threads, self.plain = precision, "", threads, plain

    def prepare(self, k: int) -> Run:
        model = export(self._file.state(k), self._file.meta.architecture, k, batch=1, all_tokens=self.plain)
        self.executed = "fp32"
        if self.precision == "int8":
            model = self._quantised(model)
        options = session_options(self._runtime, self.threads)
        session = self._runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

        def run(x: FloatArray) -> FloatArray:
            logits: FloatArray = session.run(["logits"], {"input": x})[0]
            return logits

        return run

    def _quantised(self, model: Any) -> Any:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        attention = attention_nodes(self._file.meta.architecture)
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # it would warn without
        with TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_dynamic(model, path, weight_type=QuantType.QInt8, nodes_to_exclude=attention)
            quantised = onnx.load(path)
        left = [
            node for node in quantised.graph.node if node.op_type in ("Gemm", "MatMul") and node.name not in attention
        ]
        self.executed = "fp32/int8" if left else "int8"
        return quantised


class OpenVinoPeer:
    """OpenVINO with its latency hint.

    bf16 is a hint that a CPU without bf16 arithmetic ignores: `executed` is fp32 there. int8: NNCF's static
    quantisation for transformers, calibrated on random pictures, symmetric (its preset for speed), without smoothing;
    attention's own products stay fp32, which keeps them fused and was measured to be faster.
    """

    name = "openvino"
    precisions = ("fp32", "bf16", "int8")

    def __init__(self, file: WeightFile, precision: str, threads: int, plain: bool) -> None:
        load_runtime("the comparison with OpenVINO", "bench")  # for the export
        self._openvino = _load_untracked("openvino", "the comparison with OpenVINO", "OpenVINO", "bench")
        self._nncf: Any = None
        if precision == "int8":
            self._nncf = _load_untracked("nncf", "OpenVINO in int8", "NNCF", "nncf")
            self._nncf.set_log_level(logging.ERROR)
        self._file = file
        self.version: str = self._openvino.__version__.split("-")[0]
        self.precision, self.executed, self.threads, self.plain = precision, "", threads, plain

    def prepare(self, k: int) -> Run:
        arch = self._file.meta.architecture
        model = export(self._file.state(k), arch, k, batch=1, gemm=False, all_tokens=self.plain)
        core = self._openvino.Core()
        network = core.read_model(io.BytesIO(model.SerializeToString()))
        if self.precision == "int8":
            network = self._quantised(network)
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
        }
        compiled = core.compile_model(network, "CPU", settings)
        self.executed = _executed(compiled)
        request = compiled.create_infer_request()
        tensor = self._openvino.Tensor
        outputs = request.get_tensor("logits")

        def run(x: FloatArray) -> FloatArray:
            request.set_input_tensor(tensor(x, shared_memory=True))
            request.infer()
            logits: FloatArray = outputs.data
            return logits

        return run

    def _quantised(self, network: Any) -> Any:
        nncf, arch = self._nncf, self._file.meta.architecture
        rng = np.random.default_rng(0)
        shape = (1, arch.channels, arch.image_size, arch.image_size)
        pictures = [rng.standard_normal(shape, np.float32) for _ in range(CALIBRATION_PICTURES)]
        smoothing = nncf.AdvancedSmoothQuantParameters(convolution=-1, matmul=-1)  # -1: off
        with redirect_stdout(io.StringIO()):  # its progress bars
            return nncf.quantize(
                network,
                nncf.Dataset(pictures),
                model_type=nncf.ModelType.TRANSFORMER,
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(pictures),
                ignored_scope=nncf.IgnoredScope(names=attention_nodes(arch)),
                advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smoothing),
            )


class TorchPeer:
    """PyTorch, eager, in inference mode; its thread count is the whole process's."""

    name = "torch"
    precisions = ("fp32",)

    def __init__(self, file: WeightFile, precision: str, threads: int, plain: bool) -> None:
        try:
            import torch
        except ImportError:  # not in `bench`: PyPI's build for x86 brings gigabytes of CUDA along
            raise MissingExtraError("the comparison with PyTorch", "PyTorch", "train") from None
        self._torch: Any = torch
        self._file = file
        self.version: str = torch.__version__
        self.precision, self.executed, self.threads, self.plain = precision, "", threads, plain

    def prepare(self, k: int) -> Run:
        torch = self._torch
        forward = network(torch, self._file.state(k), self._file.meta.architecture, k, self.plain)
        self.executed = "fp32"

        def run(x: FloatArray) -> FloatArray:
            if torch.get_num_threads() != self.threads:
                torch.set_num_threads(self.threads)
            with torch.inference_mode():
                logits: FloatArray = forward(torch.from_numpy(x)).numpy()
            return logits

        return run


_PEERS = (OnnxRuntimePeer, OpenVinoPeer, TorchPeer)
PEERS: dict[str, tuple[str, ...]] = {peer.name: peer.precisions for peer in _PEERS}  # and their precisions


def make_peer(name: str, file: WeightFile, precision: str = "fp32", threads: int = 1, plain: bool = False) -> Peer:
    """The runtime of that name over that file. Raises SettingError, MissingExtraError."""
    for peer in _PEERS:
        if peer.name == name:
            if precision not in peer.precisions:
                raise SettingError(f"{name} is not measured in {precision}: choose from {', '.join(peer.precisions)}")
            made: Peer = peer(file, precision, threads, plain)
            return made
    raise SettingError(f"there is no comparison with {name!r}: choose from {', '.join(PEERS)}")


def _load_untracked(module: str, what: str, package: str, extra: str) -> Any:
    """Import a module of OpenVINO's without its telemetry, which would tell Intel of each use over the network.

    It asks only these variables, and only while it is imported. Raises MissingExtraError.
    """
    before = {name: os.environ.get(name) for name in ("CI", "NNCF_CI")}
    os.environ.update(dict.fromkeys(before, "true"))
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingExtraError(what, package, extra) from None
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _executed(compiled: Any) -> str:
    """The arithmetic of the layers that have weights, as OpenVINO's runtime graph tells it."""
    names = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}
    found = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) == "FullyConnected":
            precision = info["runtimePrecision"].astype(str)
            found.add(names.get(precision, precision))
    return "/".join(sorted(found))
