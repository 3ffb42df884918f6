"""Export one k of a weight file, or all, as an ONNX model (https://onnx.ai) whose metadata say how to use it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hydrart.convert import parity
from hydrart.convert.output import ConvertError, appearing
from hydrart.engine import onnx_export, reference
from hydrart.engine.onnx_engine import load_runtime, session_options
from hydrart.engine.onnx_nested import HEADS_INPUT, export_nested
from hydrart.errors import MissingExtraError
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile

ONNX_TOLERANCE = 1e-4  # largest difference of a logit, relative to the largest logit or to 1


@dataclass(frozen=True)
class Exported:
    """The written model.

    - k: its heads, the largest of them where it has every k.
    - size: in bytes.
    - opset: version of ONNX' operators.
    - difference: the largest between logits of ONNX Runtime and of the reference; None without ONNX Runtime.
    """

    output: Path
    k: int
    size: int
    opset: int
    difference: float | None


def write_onnx(file: WeightFile, output: Path, k: int | None = None, *, every: bool = False) -> Exported:
    """Write the network of k heads; k=None is the largest. every: write one model that takes every k as an input.

    The model computes in float32 with the stored weights, whatever their precision. Its input may have any batch size.
    Its metadata hold labels, preprocessing, licence, source and accuracy as JSON. The file gets its name only after
    onnx.checker accepted it, and after ONNX Runtime, where it is installed, agreed with the reference.

    Raises HeadsError, WeightFileError, ConvertError, MissingExtraError (extra: onnx), SettingError (2 GiB and more).
    """
    meta = file.meta
    arch = meta.architecture
    if arch.looks:
        raise ConvertError(f"{file.path} is a network of several looks, which cannot be exported: take another network")
    k = arch.check_k(k)
    with appearing(output, file.path) as new:
        file.verify()
        state = file.state(k)
        model = export_nested(state, arch, k) if every else onnx_export.export(state, arch, k)
        heads = arch.heads if every else (k,)
        import onnx  # where it is missing, the line above has raised MissingExtraError

        properties = _properties(meta, heads, every)
        onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in properties.items()})
        model.doc_string = (
            f"A picture, prepared as the property 'preprocessing' says, as float32 [batch, {arch.channels}, "
            f"{arch.image_size}, {arch.image_size}] gives logits [batch, {arch.classes}], by the order of 'labels'."
        )
        if every:
            model.doc_string += f" The input '{HEADS_INPUT}', an int64 scalar, is the number of heads, one of 'heads'."
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        x = parity.picture(meta.preprocessing)
        difference = None
        for each in heads:
            found = _runtime_logits(data, {"input": x} | ({HEADS_INPUT: np.array(each, np.int64)} if every else {}))
            if found is None:
                break
            with parity.one_thread():
                expected = reference.classify(state, arch, reference.features(state, arch, x, each), each)
            error = float(np.abs(found - expected).max())
            if not error <= ONNX_TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise ConvertError(
                    f"ONNX Runtime's answers differ from the reference by {error:.3g} at k={each}, so no file was "
                    "kept: try another version of it, and report it if that does not help"
                )
            difference = max(difference or 0.0, error)
        new.write(data)
    return Exported(output, k, len(data), onnx_export.OPSET, difference)


def _properties(meta: Metadata, heads: tuple[int, ...], every: bool) -> dict[str, Any]:
    """Of a model of one k, heads and accuracy are numbers. Of a model of every k, they are a list and an object."""
    accuracy = meta.accuracy
    top1 = {k: accuracy.top1[k] for k in heads if k in accuracy.top1} if accuracy else {}
    measured = {"dataset": accuracy.dataset, "top1": top1 if every else top1[heads[0]]} if accuracy and top1 else None
    return {
        "heads": list(heads) if every else heads[0],
        "preprocessing": asdict(meta.preprocessing) | {"colour": "RGB"},
        "labels": meta.labels,
        "licence": meta.licence,
        "source": {"name": meta.source, "sha256": meta.source_sha256},
        "precision": meta.precision,
        "accuracy": measured,
    }


def _runtime_logits(model: bytes, inputs: dict[str, NDArray[Any]]) -> FloatArray | None:
    """ONNX Runtime's logits; None where it is not installed."""
    try:
        runtime = load_runtime("the comparison")
    except MissingExtraError:
        return None
    session = runtime.InferenceSession(model, session_options(runtime, 1), providers=["CPUExecutionProvider"])
    logits: FloatArray = session.run(["logits"], inputs)[0]
    return logits
