"""convert/mapped.py: safetensors files as NumPy sees them, without PyTorch."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from hydrart.convert import mapped
from hydrart.convert.stored import CheckpointError, Unusable, as_float32
from tests.support.converting import failure, nested, torch

SHAPES = {"a": (3, 5), "b": (7,), "c": (2, 3, 4, 5), "empty": (0, 3), "scalar": ()}


def test_bad_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "hydra.safetensors"
    save_file(nested(), path)
    whole = path.read_bytes()
    for damaged in (whole[:-4], whole[:50], b"{" + whole[1:], b"hello, this is text", whole[:9] + b"}" + whole[10:]):
        path.write_bytes(damaged)
        assert "safetensors" in failure(path, None)
    path = tmp_path / "a.pth"
    path.write_bytes(whole[:-4])
    assert "safetensors" in failure(path, None)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_every_float_type_has_the_values_that_pytorch_reads(tmp_path: Path, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}
    save_file(state, tmp_path / "a.safetensors")
    found = mapped.read(tmp_path / "a.safetensors")
    assert found.keys() == state.keys()
    for name, tensor in found.items():
        assert not isinstance(tensor, Unusable)
        values = as_float32(tensor)
        assert values.dtype == np.float32 and values.flags.aligned
        assert np.array_equal(values, state[name].float().numpy())


def test_tensors_may_lie_anywhere(tmp_path: Path) -> None:
    """A file whose numbers lie at odd addresses, as no common writer makes it but the format allows."""
    values = np.arange(6, dtype=np.float32)
    header = json.dumps(
        {
            "pad": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [1, 25]},
        }
    ).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" + values.tobytes())
    tensor = mapped.read(path)["a"]
    assert not isinstance(tensor, Unusable)
    assert as_float32(tensor).flags.aligned and np.array_equal(as_float32(tensor), values.reshape(2, 3))


def test_other_types_are_named_and_not_read(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, dtype=torch.int64), "b": torch.ones(1)}, tmp_path / "a.safetensors")
    found = mapped.read(tmp_path / "a.safetensors")
    assert isinstance(found["a"], Unusable) and "I64" in found["a"].why
    assert np.array_equal(np.asarray(found["b"]), [1])
    assert "the tensor a of" in failure(tmp_path / "a.safetensors", None)


@pytest.mark.parametrize(
    "entry", [{"shape": [2, 4]}, {"data_offsets": [0, 1 << 60]}, {"data_offsets": [8, 32]}, {"dtype": 3}]
)
def test_a_header_that_lies_is_an_error(tmp_path: Path, entry: dict[str, object]) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | entry}).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    with pytest.raises(CheckpointError, match="is not a usable safetensors file"):
        mapped.read(path)
