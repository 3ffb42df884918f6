"""Export the network of k heads as an ONNX model (https://onnx.ai/onnx/operators/), for other runtimes.

The graph is one that they run fast:

- Constants are folded: the softmax's scale into the query weights, layer scale into the projections, the class token
  and the bias of the patches into the positions.
- LayerNorm and GELU are single operators.
- Attention is MatMul, Softmax, MatMul, the pattern that optimisers look for.
- The last block computes only the class token, because no other token is classified.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.errors import SettingError, import_extra
from hydrart.format.architecture import Architecture
from hydrart.format.precision import FloatArray
from hydrart.format.roles import (
    CLASS_TOKEN,
    FC1,
    FC2,
    FINAL_NORM,
    NORM1,
    NORM2,
    PATCH,
    POSITIONS,
    PROJ,
    QKV,
    Role,
    classifier,
)

OPSET = 20  # the first opset with Gelu
IR_VERSION = 10  # the version of opset 21, which runtimes of mid-2024 read
MAX_BYTES = 2**31 - 2**24  # most bytes of weights: protobuf's limit of 2 GiB, less the rest of the model


def export(
    state: Mapping[str, FloatArray],
    arch: Architecture,
    k: int,
    *,
    batch: int | None = None,
    gemm: bool = True,
    all_tokens: bool = False,
) -> Any:
    """Make an onnx.ModelProto of the network of k heads: opset 20, with all weights inside, as float32.

    Its input is "input", float32 [batch, C, H, W], normalised. Its outputs are "logits" [batch, classes] and
    "features" [batch, k * head_dim], float32.

    - state: dense tensors in timm's names, of k heads or more, from WeightFile.state.
    - batch: size of the batch; None leaves it open.
    - gemm: whether linear layers are Gemm over [batch * tokens, channels], which ONNX Runtime runs fastest. Otherwise
      they are MatMul and Add over [batch, tokens, channels], which OpenVINO fuses better when it quantises.
    - all_tokens: whether the last block computes every token, as in the graphs of PyTorch's exporter.

    Raises HeadsError, SettingError (2 GiB and more), MissingExtraError (extra: onnx).
    """
    return Exporter(state, arch, check_size(arch, k), batch, gemm).model(all_tokens)


def check_size(arch: Architecture, k: int) -> int:
    """Return k, of a network that fits into an ONNX model. Raises HeadsError, SettingError (2 GiB and more)."""
    k = arch.check_k(k)
    size = 4 * arch.parameters(k)
    if size > MAX_BYTES:
        raise SettingError(
            f"the network of k={k} has {size:,} bytes of weights, ONNX models end at 2 GiB: "
            "choose fewer heads or another backend"
        )
    return k


def attention_nodes(arch: Architecture) -> list[str]:
    """Names of the MatMuls without weights: the two in the attention of each block."""
    return [f"{_attention(i)}.{part}" for i in range(arch.depth) for part in ("scores", "mix")]


def _attention(block: int) -> str:
    """The prefix of the names in a block's attention."""
    return QKV.at(block).rpartition(".")[0]


class Exporter:
    """The graph of the network of k heads, node by node. onnx_nested.py has that of every k.

    `_k` and `_p` stand in shapes for the number of heads and of channels.
    """

    _k: int | str
    _p: int | str

    def __init__(
        self, state: Mapping[str, FloatArray], arch: Architecture, k: int, batch: int | None, gemm: bool
    ) -> None:
        self._onnx: Any = import_extra("onnx", "the ONNX export", "onnx", "onnx")
        self._state, self._arch, self._most, self._batch, self._gemm = state, arch, k, batch, gemm
        self._k, self._p = k, arch.width(k)
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def model(self, all_tokens: bool) -> Any:
        onnx, arch, p = self._onnx, self._arch, self._p
        y = self._embed()
        for i in range(arch.depth):
            y = self._block(i, y, last=i == arch.depth - 1 and not all_tokens)
        if all_tokens:
            y = self._class_token("read", y)
        if not self._gemm:
            y = self._reshape("class_token", y, -1, p)
        features = self._norm(FINAL_NORM, None, y, output="features")
        self._op("Gemm", features, *self._classifier(), name="logits", transB=1)

        def values(name: str, *shape: int | str) -> Any:
            dims = (self._batch or "batch", *shape)
            return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)

        graph = onnx.helper.make_graph(
            self._nodes,
            f"hydravit_{self._k}",
            [values("input", arch.channels, arch.image_size, arch.image_size), *self._more_inputs()],
            [values("logits", arch.classes), values("features", p)],
            list(self._constants.values()),
        )
        opset = onnx.helper.make_opsetid("", OPSET)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="hydrart")

    def _more_inputs(self) -> list[Any]:
        """The inputs of the graph beside the pictures."""
        return []

    def _classifier(self) -> list[str]:
        """The weight and the bias of the classifier."""
        weight, bias = self._cut(classifier(self._arch), self._most)
        return [self._weight("head.w", weight, 0, 1), self._weight("head.b", bias, 0)]

    def _embed(self) -> str:
        """Project each patch to a row. The class token's row is zeros, to which its folded position is added."""
        arch, p = self._arch, self._p
        side = arch.image_size // arch.patch
        (weight, bias), (token,), (positions,) = map(self._cut, (PATCH, CLASS_TOKEN, POSITIONS))
        y = self._reshape("patch_embed.cut", "input", -1, arch.channels, side, arch.patch, side, arch.patch)
        y = self._op("Transpose", y, name="patch_embed.order", perm=[0, 2, 4, 1, 3, 5])
        y = self._reshape("patch_embed.rows", y, *self._rows(arch.patch_inputs, side * side))
        y = self._linear(PATCH.at(), y, weight.reshape(len(weight), -1), None, inputs=0)
        if self._gemm:
            y = self._reshape("patch_embed.tokens", y, -1, side * side, p)
        pads = self._constant("cls_token.pads", np.array([0, 1, 0, 0, 0, 0], np.int64))
        y = self._op("Pad", y, pads, name="cls_token")
        position = positions[0].copy()
        position[0] += token.reshape(-1)
        position[1:] += bias
        y = self._op("Add", y, self._weight("pos_embed.w", position, 0, 1), name="pos_embed")
        return self._reshape("tokens", y, -1, p) if self._gemm else y

    def _block(self, i: int, y: str, last: bool) -> str:
        name = f"blocks.{i}"
        z = self._norm(NORM1, i, y)
        if last:
            y = self._class_token(f"{name}.residual", y)
        z = self._attention(i, z, last)
        z = self._linear(PROJ.at(i), z, *self._cut(PROJ, i))
        y = self._op("Add", y, z, name=f"{name}.add1")
        z = self._norm(NORM2, i, y)
        z = self._linear(FC1.at(i), z, *self._cut(FC1, i), outputs=4)
        z = self._op("Gelu", z, name=f"{FC1.at(i).rpartition('.')[0]}.gelu")
        z = self._linear(FC2.at(i), z, *self._cut(FC2, i), inputs=4)
        return self._op("Add", y, z, name=f"{name}.add2")

    def _attention(self, i: int, z: str, last: bool) -> str:
        """softmax(q k^T / sqrt(head_dim)) v of every head. In the last block only for the class token's query."""
        arch, p, k, name = self._arch, self._p, self._k, _attention(i)
        tokens = arch.tokens(self._most)
        rows = {"q": 1 if last else tokens, "k": tokens, "v": tokens}
        weights, biases = (np.split(values, 3) for values in self._cut(QKV, i))
        orders = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
        parts: dict[str, str] = {}
        for (part, n), weight, bias in zip(rows.items(), weights, biases, strict=True):
            x = self._class_token(f"{name}.query", z) if last and part == "q" else z
            scale = np.float32(arch.head_dim**-0.5 if part == "q" else 1)
            x = self._linear(f"{name}.{part}", x, scale * weight, scale * bias)
            x = self._reshape(f"{name}.{part}.heads", x, -1, n, k, arch.head_dim)
            parts[part] = self._op("Transpose", x, name=f"{name}.{part}.order", perm=orders[part])
        scores = self._op("MatMul", parts["q"], parts["k"], name=f"{name}.scores")
        scores = self._op("Softmax", scores, name=f"{name}.softmax", axis=-1)
        mixed = self._op("MatMul", scores, parts["v"], name=f"{name}.mix")
        mixed = self._op("Transpose", mixed, name=f"{name}.order", perm=[0, 2, 1, 3])
        return self._reshape(f"{name}.merge", mixed, *self._rows(p, rows["q"]))

    def _class_token(self, name: str, y: str) -> str:
        """The class tokens, which are the first rows of the pictures' tokens, in the shape of the linear layers."""
        if self._gemm:
            y = self._reshape(f"{name}.tokens", y, -1, self._arch.tokens(self._most), self._p)
        bounds = [self._constant(f"row_{i}", np.array([i], np.int64)) for i in (0, 1, 1)]
        y = self._op("Slice", y, *bounds, name=f"{name}.row" if self._gemm else name)
        return self._reshape(name, y, -1, self._p) if self._gemm else y

    def _rows(self, channels: int | str, tokens: int) -> tuple[int | str, ...]:
        """The shape in which linear layers compute.

        Without Gemm its rank is the same in the last block. On one thread, OpenVINO 2026.4.1 crashes when it compiles
        the last block of a small network over [batch, channels].
        """
        return (-1, channels) if self._gemm else (-1, tokens, channels)

    def _cut(self, role: Role, index: int | None = None) -> list[FloatArray]:
        """The parts of the role's tensors that k heads use, multiplied by the layer scale."""
        found = [p.cut(self._state[p.name], self._most) for p in role.parameters(self._arch, index)]
        if scale := role.scale(self._arch):
            weight, bias = found
            (gamma,) = self._cut(scale, index)
            found = [weight * gamma[:, None], bias * gamma]
        return found

    def _linear(
        self, name: str, x: str, weight: FloatArray, bias: FloatArray | None, *, outputs: int = 1, inputs: int = 1
    ) -> str:
        """outputs, inputs: blocks of head_dim that each head has."""
        biases = [] if bias is None else [self._weight(f"{name}.b", bias, outputs)]
        if self._gemm:
            return self._op("Gemm", x, self._weight(f"{name}.w", weight, outputs, inputs), *biases, name=name, transB=1)
        y = self._op("MatMul", x, self._weight(f"{name}.w", weight.T, inputs, outputs), name=name)
        return self._op("Add", y, *biases, name=f"{name}.add") if biases else y

    def _norm(self, role: Role, block: int | None, x: str, output: str | None = None) -> str:
        name = role.at(block)
        weight, bias = (
            self._weight(f"{name}.{letter}", values, 1)
            for letter, values in zip("wb", self._cut(role, block), strict=True)
        )
        epsilon = self._arch.layer_norm_eps
        return self._op("LayerNormalization", x, weight, bias, name=output or name, axis=-1, epsilon=epsilon)

    def _reshape(self, name: str, x: str, *shape: int | str) -> str:
        return self._op("Reshape", x, self._shape(*shape), name=name)

    def _shape(self, *shape: int | str) -> str:
        """A shape, as int64 [rank]."""
        return self._constant("shape_" + "_".join(map(str, shape)), np.array(shape, np.int64))

    def _weight(self, name: str, values: FloatArray, *per_head: int) -> str:
        """A weight of the k heads. per_head: blocks of head_dim that each head has along each axis; 0 for none."""
        return self._constant(name, values)

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(values, name)
        return name

    def _op(self, kind: str, *inputs: str, name: str, **attributes: int | float | Sequence[int]) -> str:
        """Add a node. Its only output has the node's name, which is returned."""
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name
