"""The network of k heads as an ONNX model (https://onnx.ai/onnx/operators/), for other runtimes.

The graph is one that they run well: what is constant is folded (the softmax's scale into the query weights, layer
scale into the projections, the class token and the patch bias into the positions), LayerNorm and GELU are single
operators, attention is the MatMul-Softmax-MatMul that optimisers look for, and the last block computes no more than
the class token, the only one that is read.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import MissingExtraError, SettingError
from hydrart.format.architecture import Architecture

OPSET = 20  # the first that has Gelu
IR_VERSION = 10  # of opset 21: runtimes of mid-2024 read it
MAX_BYTES = 2**31 - 2**24  # protobuf's limit of 2 GiB, less what is not weights

FloatArray = NDArray[np.float32]


def export(
    state: Mapping[str, FloatArray],
    arch: Architecture,
    k: int,
    *,
    batch: int | None = None,
    gemm: bool = True,
    all_tokens: bool = False,
) -> Any:
    """The network of k heads as an onnx.ModelProto: opset 20, every weight inside, as float32.

    state: dense tensors in timm's names, of k heads or more, as WeightFile.state gives them. Input: "input", float32
    [batch, C, H, W], normalised; outputs: "logits" [batch, classes] and "features" [batch, k * head_dim], float32;
    batch None leaves the batch open. gemm: linear layers are Gemm over [batch * tokens, channels], which ONNX Runtime
    runs fastest; False: MatMul and Add over [batch, tokens, channels], to which OpenVINO fuses more when quantised.
    all_tokens: the last block computes every token, as in a graph that PyTorch's exporter wrote.
    Raises HeadsError, SettingError (2 GiB and more), MissingExtraError (extra: onnx).
    """
    k = arch.check_k(k)
    size = 4 * arch.parameters(k)
    if size > MAX_BYTES:
        raise SettingError(
            f"the network of k={k} has {size:,} bytes of weights, ONNX models end at 2 GiB: "
            "choose fewer heads or another backend"
        )
    return _Exporter(state, arch, k, batch, gemm).model(all_tokens)


def attention_nodes(arch: Architecture) -> list[str]:
    """Names of the MatMuls that have no weights: the two of each block's attention."""
    return [f"blocks.{i}.attn.{part}" for i in range(arch.depth) for part in ("scores", "mix")]


class _Exporter:
    def __init__(
        self, state: Mapping[str, FloatArray], arch: Architecture, k: int, batch: int | None, gemm: bool
    ) -> None:
        try:
            import onnx
        except ImportError:
            raise MissingExtraError("the ONNX export", "onnx", "onnx") from None
        self._onnx: Any = onnx
        self._state, self._arch, self._k, self._batch, self._gemm = state, arch, k, batch, gemm
        self._p = arch.width(k)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def model(self, all_tokens: bool) -> Any:
        onnx, arch, p = self._onnx, self._arch, self._p
        y = self._embed()
        for i in range(arch.depth):
            y = self._block(f"blocks.{i}", y, last=i == arch.depth - 1 and not all_tokens)
        if all_tokens:
            y = self._class_token("read", y)
        if not self._gemm:
            y = self._reshape("class_token", y, -1, p)
        features = self._norm("norm", y, output="features")
        name = f"heads.{self._k}" if arch.separate_classifiers else "head"
        weight, bias = self._state[f"{name}.weight"][:, :p], self._state[f"{name}.bias"]
        self._op(
            "Gemm", features, self._constant("head.w", weight), self._constant("head.b", bias), name="logits", transB=1
        )

        def values(name: str, *shape: int) -> Any:
            dims = (self._batch or "batch", *shape)
            return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)

        graph = onnx.helper.make_graph(
            self._nodes,
            f"hydravit_k{self._k}",
            [values("input", arch.channels, arch.image_size, arch.image_size)],
            [values("logits", arch.classes), values("features", p)],
            list(self._constants.values()),
        )
        opset = onnx.helper.make_opsetid("", OPSET)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="hydrart")

    def _embed(self) -> str:
        """Patches as rows, each projected; the class token comes as a row of zeros, to which its position is added."""
        arch, p, state = self._arch, self._p, self._state
        side = arch.image_size // arch.patch
        y = self._reshape("patch_embed.cut", "input", -1, arch.channels, side, arch.patch, side, arch.patch)
        y = self._op("Transpose", y, name="patch_embed.order", perm=[0, 2, 4, 1, 3, 5])
        y = self._reshape("patch_embed.rows", y, *self._rows(arch.patch_inputs, side * side))
        y = self._linear("patch_embed.proj", y, state["patch_embed.proj.weight"][:p].reshape(p, -1), None)
        if self._gemm:
            y = self._reshape("patch_embed.tokens", y, -1, side * side, p)
        pads = self._constant("cls_token.pads", np.array([0, 1, 0, 0, 0, 0], np.int64))
        y = self._op("Pad", y, pads, name="cls_token")
        position = state["pos_embed"][0, :, :p].copy()
        position[0] += state["cls_token"].reshape(-1)[:p]
        position[1:] += state["patch_embed.proj.bias"][:p]
        y = self._op("Add", y, self._constant("pos_embed.w", position), name="pos_embed")
        return self._reshape("tokens", y, -1, p) if self._gemm else y

    def _block(self, name: str, y: str, last: bool) -> str:
        p, state = self._p, self._state
        z = self._norm(f"{name}.norm1", y)
        if last:
            y = self._class_token(f"{name}.residual", y)
        z = self._attention(f"{name}.attn", z, last)
        z = self._linear(f"{name}.attn.proj", z, *self._scaled(f"{name}.attn.proj", f"{name}.ls1", p))
        y = self._op("Add", y, z, name=f"{name}.add1")
        z = self._norm(f"{name}.norm2", y)
        weight, bias = state[f"{name}.mlp.fc1.weight"][: 4 * p, :p], state[f"{name}.mlp.fc1.bias"][: 4 * p]
        z = self._linear(f"{name}.mlp.fc1", z, weight, bias)
        z = self._op("Gelu", z, name=f"{name}.mlp.gelu")
        z = self._linear(f"{name}.mlp.fc2", z, *self._scaled(f"{name}.mlp.fc2", f"{name}.ls2", 4 * p))
        return self._op("Add", y, z, name=f"{name}.add2")

    def _attention(self, name: str, z: str, last: bool) -> str:
        """Softmax(q k / sqrt(head_dim)) v of every head; in the last block for the class token's query alone."""
        arch, p, k = self._arch, self._p, self._k
        rows = {"q": 1 if last else arch.tokens, "k": arch.tokens, "v": arch.tokens}
        weights, biases = (np.split(self._state[f"{name}.qkv.{kind}"], 3) for kind in ("weight", "bias"))
        orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
        parts: dict[str, str] = {}
        for (part, n), weight, bias in zip(rows.items(), weights, biases, strict=True):
            x = self._class_token(f"{name}.query", z) if last and part == "q" else z
            scale = np.float32(arch.head_dim**-0.5 if part == "q" else 1)
            x = self._linear(f"{name}.{part}", x, scale * weight[:p, :p], scale * bias[:p])
            x = self._reshape(f"{name}.{part}.heads", x, -1, n, k, arch.head_dim)
            parts[part] = self._op("Transpose", x, name=f"{name}.{part}.order", perm=orders[part])
        scores = self._op("MatMul", parts["q"], parts["k"], name=f"{name}.scores")
        scores = self._op("Softmax", scores, name=f"{name}.softmax", axis=-1)
        mixed = self._op("MatMul", scores, parts["v"], name=f"{name}.mix")
        mixed = self._op("Transpose", mixed, name=f"{name}.order", perm=[0, 2, 1, 3])
        return self._reshape(f"{name}.merge", mixed, *self._rows(p, rows["q"]))

    def _class_token(self, name: str, y: str) -> str:
        """The first row of each picture's tokens, in the shape that linear layers work on."""
        if self._gemm:
            y = self._reshape(f"{name}.tokens", y, -1, self._arch.tokens, self._p)
        bounds = [self._constant(f"row_{i}", np.array([i], np.int64)) for i in (0, 1, 1)]
        y = self._op("Slice", y, *bounds, name=f"{name}.row" if self._gemm else name)
        return self._reshape(name, y, -1, self._p) if self._gemm else y

    def _rows(self, channels: int, tokens: int) -> tuple[int, ...]:
        """The shape that linear layers work on.

        Without Gemm it keeps its rank to the last: OpenVINO 2026.4.1 on one thread crashes when it compiles the last
        block over [batch, channels], if the network is small.
        """
        return (-1, channels) if self._gemm else (-1, tokens, channels)

    def _scaled(self, name: str, layer_scale: str, inputs: int) -> tuple[FloatArray, FloatArray]:
        """Weight and bias of a linear layer that ends a branch, layer scale folded in."""
        weight, bias = self._state[f"{name}.weight"][: self._p, :inputs], self._state[f"{name}.bias"][: self._p]
        if self._arch.layer_scale:
            gamma = self._state[f"{layer_scale}.gamma"][: self._p]
            weight, bias = weight * gamma[:, None], bias * gamma
        return weight, bias

    def _linear(self, name: str, x: str, weight: FloatArray, bias: FloatArray | None) -> str:
        biases = [] if bias is None else [self._constant(f"{name}.b", bias)]
        if self._gemm:
            return self._op("Gemm", x, self._constant(f"{name}.w", weight), *biases, name=name, transB=1)
        y = self._op("MatMul", x, self._constant(f"{name}.w", weight.T), name=name)
        return self._op("Add", y, *biases, name=f"{name}.add") if biases else y

    def _norm(self, name: str, x: str, output: str | None = None) -> str:
        weight, bias = (
            self._constant(f"{name}.{short}", self._state[f"{name}.{kind}"][: self._p])
            for short, kind in (("w", "weight"), ("b", "bias"))
        )
        epsilon = self._arch.layer_norm_eps
        return self._op("LayerNormalization", x, weight, bias, name=output or name, axis=-1, epsilon=epsilon)

    def _reshape(self, name: str, x: str, *shape: int) -> str:
        key = "shape_" + "_".join(map(str, shape))
        return self._op("Reshape", x, self._constant(key, np.array(shape, np.int64)), name=name)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(values, name)
        return name

    def _op(self, kind: str, *inputs: str, name: str, **attributes: int | float | Sequence[int]) -> str:
        """Add a node; its one output has its name."""
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name
