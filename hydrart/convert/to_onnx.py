"""Export one k of a weight file as an ONNX model (https://onnx.ai) whose metadata say how to use it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hydrart.convert import parity
from hydrart.convert.output import ConvertError, appearing
from hydrart.engine import onnx_export, reference
from hydrart.engine.onnx_engine import load_runtime, session_options
from hydrart.errors import MissingExtraError
from hydrart.format.metadata import Metadata
from hydrart.format.precision import FloatArray
from hydrart.format.reader import WeightFile

ONNX_TOLERANCE = 1e-4  # largest difference of a logit, relative to the largest logit or to 1


@dataclass(frozen=True)
class Exported:
    """The written model.

    - size: in bytes.
    - opset: version of ONNX' operators.
    - difference: the largest between logits of ONNX Runtime and of the reference; None without ONNX Runtime.
    """

    output: Path
    k: int
    size: int
    opset: int
    difference: float | None


def write_onnx(file: WeightFile, output: Path, k: int | None = None) -> Exported:
    """Write the network of k heads; k=None is the largest.

    The model computes in float32 with the stored weights, whatever their precision. Its input may have any batch size.
    Its metadata hold labels, preprocessing, licence, source and accuracy as JSON. The file gets its name only after
    onnx.checker accepted it, and after ONNX Runtime, where it is installed, agreed with the reference.

    Raises HeadsError, WeightFileError, ConvertError, MissingExtraError (extra: onnx), SettingError (2 GiB and more).
    """
    meta = file.meta
    arch = meta.architecture
    k = arch.check_k(k)
    with appearing(output, file.path) as new:
        file.verify()
        state = file.state(k)
        model = onnx_export.export(state, arch, k)
        import onnx  # where it is missing, the line above has raised MissingExtraError

        onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in _properties(meta, k).items()})
        model.doc_string = (
            f"A picture, prepared as the property 'preprocessing' says, as float32 [batch, {arch.channels}, "
            f"{arch.image_size}, {arch.image_size}] gives logits [batch, {arch.classes}], by the order of 'labels'."
        )
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString()
        x = parity.picture(meta.preprocessing)
        found = _runtime_logits(data, x)
        difference = None
        if found is not None:
            with parity.one_thread():
                expected = reference.classify(state, arch, reference.features(state, arch, x, k), k)
            difference = float(np.abs(found - expected).max())
            if not difference <= ONNX_TOLERANCE * max(1.0, float(np.abs(expected).max())):
                raise ConvertError(
                    f"ONNX Runtime's answers differ from the reference by {difference:.3g} at k={k}, so no file was "
                    "kept: try another version of it, and report it if that does not help"
                )
        new.write(data)
    return Exported(output, k, len(data), onnx_export.OPSET, difference)


def _properties(meta: Metadata, k: int) -> dict[str, Any]:
    accuracy = meta.accuracy
    measured = accuracy is not None and k in accuracy.top1
    return {
        "heads": k,
        "preprocessing": asdict(meta.preprocessing) | {"colour": "RGB"},
        "labels": meta.labels,
        "licence": meta.licence,
        "source": {"name": meta.source, "sha256": meta.source_sha256},
        "precision": meta.precision,
        "accuracy": {"dataset": accuracy.dataset, "top1": accuracy.top1[k]} if accuracy and measured else None,
    }


def _runtime_logits(model: bytes, x: FloatArray) -> FloatArray | None:
    """ONNX Runtime's logits; None where it is not installed."""
    try:
        runtime = load_runtime("the comparison")
    except MissingExtraError:
        return None
    session = runtime.InferenceSession(model, session_options(runtime, 1), providers=["CPUExecutionProvider"])
    logits: FloatArray = session.run(["logits"], {"input": x})[0]
    return logits
