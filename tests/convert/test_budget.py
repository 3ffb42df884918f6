"""convert/budget.py, through the command: what would take PyTorch's reader minutes is refused within its limits."""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hydrart.convert import budget
from tests.support.converting import failure, torch

BEGIN, END = b"\x80\x02", b"."


def archive(content: bytes, compression: int = zipfile.ZIP_STORED, names: tuple[str, ...] = ("x/data.pkl",)) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name in names:
            file.writestr(name, content)
    return out.getvalue()


def number(n: int) -> bytes:
    """A pickled integer."""
    return b"J" + struct.pack("<i", n)


def doubled(times: int) -> bytes:
    """Push a tuple of twice a tuple of twice a tuple, and so on."""
    return b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(times))


BOMBS = {
    "a tuple as a key": BEGIN + b"}" + doubled(60) + b"Ks" + END,
    "a tuple in a set": BEGIN + b"cbuiltins\nset\n](" + doubled(60) + b"e\x85R" + END,
    "many steps": BEGIN + b"]" + b"K\x01a" * 600_000 + END,
    "a key many times": BEGIN + b"}" + doubled(15) + b"q\x63" + b"0" + b"(" + b"h\x63N" * 1000 + b"u" + END,
    "a code of quadratic time": BEGIN + b"c_codecs\nencode\nX" + struct.pack("<I", 4) + "éöüß".encode()[:4]
    + b"X\x08\x00\x00\x00punycode\x86R" + END,
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", BOMBS)
def test_what_takes_minutes_to_read_is_refused(tmp_path: Path, name: str, zipped: bool) -> None:
    content = BOMBS[name]
    path = tmp_path / "a.pth"
    path.write_bytes(archive(content) if zipped else content)
    said = failure(path, None)
    assert f"{path} is refused: it " in said and ".safetensors" in said, said


def test_a_list_that_grows_after_its_tuple_counts(tmp_path: Path) -> None:
    grown = b"]q\xfe\x85q\xfd" + b"0" + b"h\xfe(" + (doubled(12) + b"q\x63" + b"h\x63" * 900) + b"e0"
    sets = (b"cbuiltins\nset\nh\xfdR0") * 20
    (tmp_path / "a.pth").write_bytes(archive(BEGIN + grown + sets + b"}" + END))
    assert "is refused: it holds tables with more than" in failure(tmp_path / "a.pth", None)


@pytest.mark.parametrize("name", ["x/data.pkl", "x/DATA.pkl"])
def test_a_compressed_archive_is_refused(tmp_path: Path, name: str) -> None:
    content = pickle.dumps({"state_dict": {}}, 2)
    (tmp_path / "a.pth").write_bytes(archive(content, zipfile.ZIP_DEFLATED, (name,)))
    assert "is compressed, which PyTorch's own files are not" in failure(tmp_path / "a.pth", None)


def test_a_pickle_of_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_MOST_BYTES", 1 << 20)
    content = BEGIN + b"]" + (b"X" + struct.pack("<I", 100_000) + bytes(100_000) + b"a") * 20 + END
    for data in (archive(content), content):
        (tmp_path / "a.pth").write_bytes(data)
        assert "is refused: it holds more than 1 MB besides its tensors" in failure(tmp_path / "a.pth", None)


@pytest.mark.parametrize("wide", [False, True])
def test_an_archive_that_claims_a_million_files_is_refused_before_they_are_read(tmp_path: Path, wide: bool) -> None:
    data = archive(pickle.dumps({}, 2))
    end = data.rindex(budget._END)
    record = b""
    if wide:
        sizes = (10**6, 10**6, 10**8, 0)
        record = budget._END_64 + struct.pack("<QHHII4Q", 44, 45, 45, 0, 0, *sizes)
        record += budget._LOCATOR + struct.pack("<IQI", 0, end, 1)
    tail = data[end : end + 12] + struct.pack("<I", 10**6 if wide else 10**8) + data[end + 16 :]
    (tmp_path / "a.pth").write_bytes(data[:end] + record + tail)
    assert "is refused: it holds too many files" in failure(tmp_path / "a.pth", None)


@pytest.mark.parametrize(
    "data", [archive(b"")[:-1], archive(b"", names=("x/no",)), archive(b"", names=("x/data.pkl", "x/y/data.pkl"))]
)
def test_an_archive_that_is_damaged(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pth").write_bytes(data)
    assert "its archive is damaged or cut short" in failure(tmp_path / "a.pth", None)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_with_its_optimizer_is_within_the_limits(tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(300)))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.zeros(1, 2)).sum().backward()
    optimizer.step()
    content: dict[str, Any] = {"state_dict": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    content |= {"labels": [f"class {i}" for i in range(21843)], "shapes": {(i, (i, i)): i for i in range(1000)}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    budget.check(tmp_path / "a.pth", zipped)
