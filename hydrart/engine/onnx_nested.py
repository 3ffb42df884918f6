"""Export the networks of all ks as one ONNX model, which slices its weights.

Its weights are those of the largest k. A second input is the number of heads. The graph takes the first channels of
each weight, as the paper's network does, before it multiplies.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hydrart.engine.onnx_export import Exporter, check_size
from hydrart.format.architecture import Architecture
from hydrart.format.precision import FloatArray
from hydrart.format.roles import classifier

HEADS_INPUT = "k"  # the name of the input
HEAD_COUNT, CHANNEL_COUNT = "heads", "channels"  # int64 [1]: numbers of heads and of channels in this call


def export_nested(state: Mapping[str, FloatArray], arch: Architecture, k: int) -> Any:
    """Make an onnx.ModelProto of the networks of all ks up to k: opset 20, with all weights inside, as float32.

    Its inputs are "input", float32 [batch, C, H, W], normalised, and "k", an int64 scalar, which is one of the trained
    ks. Its outputs are "logits" [batch, classes] and "features" [batch, k * head_dim], float32.

    state: dense tensors in timm's names, of k heads or more, from WeightFile.state. Raises HeadsError, SettingError (2
    GiB and more), MissingExtraError (extra: onnx).
    """
    return _NestedExporter(state, arch, check_size(arch, k)).model(all_tokens=False)


class _NestedExporter(Exporter):
    def __init__(self, state: Mapping[str, FloatArray], arch: Architecture, most: int) -> None:
        super().__init__(state, arch, most, batch=None, gemm=True)
        self._k, self._p = HEAD_COUNT, CHANNEL_COUNT
        self._shapes: dict[str, str] = {}
        self._op("Reshape", HEADS_INPUT, self._constant("one", np.array([1], np.int64)), name=HEAD_COUNT)
        self._op("Mul", HEAD_COUNT, self._constant("head_dim", np.array([arch.head_dim], np.int64)), name=CHANNEL_COUNT)

    def _more_inputs(self) -> list[Any]:
        return [self._onnx.helper.make_tensor_value_info(HEADS_INPUT, self._onnx.TensorProto.INT64, ())]

    def _shape(self, *shape: int | str) -> str:
        """A shape with the numbers of heads and channels of this call."""
        if all(isinstance(length, int) for length in shape):
            return super()._shape(*shape)
        key = "shape_" + "_".join(map(str, shape))
        return self._joined(key, *(self._number(length) if isinstance(length, int) else length for length in shape))

    def _weight(self, name: str, values: FloatArray, *per_head: int) -> str:
        axes = [axis for axis, blocks in enumerate(per_head) if blocks]
        if not axes:
            return self._constant(name, values)
        ends = [CHANNEL_COUNT if per_head[axis] == 1 else self._hidden() for axis in axes]
        bounds = (
            self._constant(f"first_{len(axes)}", np.zeros(len(axes), np.int64)),
            self._joined("_".join(ends), *ends),
        )
        over = self._constant("axes_" + "_".join(map(str, axes)), np.array(axes, np.int64))
        return self._op("Slice", self._constant(f"{name}.all", values), *bounds, over, name=name)

    def _hidden(self) -> str:
        """The channels of the MLP."""
        if "hidden" not in self._shapes:
            self._shapes["hidden"] = self._op("Mul", CHANNEL_COUNT, self._number(4), name="hidden")
        return self._shapes["hidden"]

    def _classifier(self) -> list[str]:
        """Where each k has a classifier, their weights lie one after the other. A table says where each begins."""
        arch = self._arch
        if not arch.separate_classifiers:
            return super()._classifier()
        ks = [k for k in arch.heads if k <= self._most]
        parts = [[p.cut(self._state[p.name], k) for p in classifier(arch).parameters(arch, k)] for k in ks]
        starts, biases = np.zeros(ks[-1] + 1, np.int64), np.zeros((ks[-1] + 1, arch.classes), np.float32)
        weights = np.concatenate([weight.reshape(-1) for weight, _ in parts])
        starts[ks] = np.cumsum([0, *(weight.size for weight, _ in parts)])[:-1]
        biases[ks] = [bias for _, bias in parts]
        start = self._op("Gather", self._constant("heads.starts", starts), HEAD_COUNT, name="heads.start")
        size = self._op("Mul", CHANNEL_COUNT, self._number(arch.classes), name="heads.size")
        end = self._op("Add", start, size, name="heads.end")
        flat = self._op("Slice", self._constant("heads.all", weights), start, end, name="heads.flat")
        weight = self._reshape("head.w", flat, arch.classes, CHANNEL_COUNT)
        bias = self._op("Gather", self._constant("heads.biases", biases), HEAD_COUNT, name="heads.bias")
        return [weight, self._reshape("head.b", bias, arch.classes)]

    def _number(self, value: int) -> str:
        return self._constant(f"number_{value}", np.array([value], np.int64))

    def _joined(self, name: str, *parts: str) -> str:
        """Lengths, one after the other, as int64 [number of parts]."""
        if len(parts) == 1:
            return parts[0]
        if name not in self._shapes:
            self._shapes[name] = self._op("Concat", *parts, name=name, axis=0)
        return self._shapes[name]
