"""Other runtimes over the same weight file, each set up for its shortest latency with one picture.

By default the last block computes the class token alone, as in hydrart. "plain" computes every token in every block, as
a graph from PyTorch's exporter does, which takes longer. The thread pools of these runtimes spin for some milliseconds
after a call. A fair timing therefore sleeps and makes an untimed call before each turn (timing.py).
"""

import io
import logging
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np

from hydrart.bench.signal_stack import kept_signal_stack
from hydrart.bench.torch_network import network
from hydrart.engine.onnx_engine import load_runtime, session_options
from hydrart.engine.onnx_export import attention_nodes, export
from hydrart.errors import SettingError, import_extra
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile

LogitsFunction = Callable[[FloatArray], FloatArray]

CALIBRATION_PICTURES = 16


class Peer(Protocol):
    """A runtime with a precision.

    - name, version: of the runtime.
    - precision: the one that was asked for.
    - executed: the one in which the linear layers compute. prepare() sets it: "fp32/int8" where the layers differ.
    - threads: number of CPU cores that a call uses.
    - plain: whether the last block computes every token.
    """

    name: str
    version: str
    precision: str
    executed: str
    threads: int
    plain: bool

    def prepare(self, k: int) -> LogitsFunction:
        """Build the network of k heads.

        Returns a function from float32 [1, C, H, W], C-contiguous and writable, to logits float32 [1, classes]. The
        next call may overwrite them. Raises HeadsError, SettingError (too large for ONNX).
        """


class OnnxRuntimePeer:
    """ONNX Runtime. int8 is its dynamic quantisation of every linear layer, with one scale per tensor.

    The products of attention are fp32. Static quantisation (QDQ) needs calibration and was measured to be no faster on
    AVX2.
    """

    name = "onnxruntime"
    precisions = ("fp32", "int8")

    def __init__(self, file: WeightFile, precision: str, threads: int, plain: bool) -> None:
        self._runtime = load_runtime("the comparison with ONNX Runtime", "bench")
        self._file = file
        self.version: str = self._runtime.__version__
        self.precision, self.executed, self.threads, self.plain = precision, "", threads, plain

    def prepare(self, k: int) -> LogitsFunction:
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
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # prevents a warning
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

    On a CPU without bf16 arithmetic, bf16 is ignored and `executed` is fp32. int8 is NNCF's static quantisation for
    transformers: symmetric (the preset for speed), without smoothing, calibrated on random pictures. The products of
    attention are fp32: OpenVINO then fuses them, which was measured to be faster.
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

    @kept_signal_stack()
    def prepare(self, k: int) -> LogitsFunction:
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
    """PyTorch, eager, in inference mode. The whole process shares its number of threads."""

    name = "torch"
    precisions = ("fp32",)

    def __init__(self, file: WeightFile, precision: str, threads: int, plain: bool) -> None:
        # the extra `bench` leaves it out: PyPI's build for x86 brings gigabytes of CUDA
        torch = import_extra("torch", "the comparison with PyTorch", "PyTorch", "train")
        self._torch: Any = torch
        self._file = file
        self.version: str = torch.__version__
        self.precision, self.executed, self.threads, self.plain = precision, "", threads, plain

    def prepare(self, k: int) -> LogitsFunction:
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
PEERS: dict[str, tuple[str, ...]] = {peer.name: peer.precisions for peer in _PEERS}
"""Name -> precisions that can be measured."""


def make_peer(name: str, file: WeightFile, precision: str = "fp32", threads: int = 1, plain: bool = False) -> Peer:
    """Make the peer of this name over a weight file.

    threads: CPU cores per call. plain: whether the last block computes every token. Raises SettingError (unknown name
    or precision), MissingExtraError.
    """
    for peer in _PEERS:
        if peer.name == name:
            if precision not in peer.precisions:
                raise SettingError(f"{name} is not measured in {precision}: choose from {', '.join(peer.precisions)}")
            made: Peer = peer(file, precision, threads, plain)
            return made
    raise SettingError(f"there is no comparison with {name!r}: choose from {', '.join(PEERS)}")


def _load_untracked(module: str, what: str, package: str, extra: str) -> Any:
    """Import one of OpenVINO's modules without its telemetry, which would report each use to Intel.

    The module reads the variables only while it is imported. Raises MissingExtraError.
    """
    before = {name: os.environ.get(name) for name in ("CI", "NNCF_CI")}
    os.environ.update(dict.fromkeys(before, "true"))
    try:
        return import_extra(module, what, package, extra)
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _executed(compiled: Any) -> str:
    """The precision of the linear layers in OpenVINO's runtime graph."""
    names = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}
    found = set()
    for node in compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        if info["layerType"].astype(str) == "FullyConnected":
            precision = info["runtimePrecision"].astype(str)
            found.add(names.get(precision, precision))
    return "/".join(sorted(found))
