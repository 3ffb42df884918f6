"""Files that ship: found by name, with or without a suffix of their own."""

from pathlib import Path

import pytest

from hydrart import resources
from hydrart.errors import ProfileError, WeightFileError
from tests.support.commands import told


def test_what_ships() -> None:
    weights = resources.bundled("weights", ".safetensors")
    assert list(weights) == sorted(weights) and "hydravit-cifar10" in weights
    assert all(path.is_file() and path.stem == name for name, path in weights.items())
    assert {"quiet", "bursts"} <= set(resources.bundled("devices/traces", ".csv"))
    assert resources.bundled("none", ".csv") == {} and resources.DEMO.is_file()


def test_an_installed_package_holds_the_folders_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "site/hydrart"
    for path in (package / "weights/inside.safetensors", tmp_path / "site/weights/beside.safetensors"):
        path.parent.mkdir(parents=True)
        path.touch()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert list(resources.bundled("weights", ".safetensors")) == ["inside"]
    (package / "weights/inside.safetensors").unlink()
    (package / "weights").rmdir()
    assert list(resources.bundled("weights", ".safetensors")) == ["beside"], "a checkout"


def test_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str | Path) -> Path:
        return resources.find(name, "weights", ".safetensors", WeightFileError)

    ships = resources.bundled("weights", ".safetensors")["hydravit-cifar10"]
    assert find("hydravit-cifar10") == ships
    for path in ("x.safetensors", "folder/x", str(tmp_path)):
        assert find(path) == Path(path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hydravit-cifar10").touch()
    assert find("hydravit-cifar10") == ships, "a name that ships comes first"
    assert find(Path("hydravit-cifar10")) == Path("hydravit-cifar10"), "a Path is always a path"


def test_unknown_names() -> None:
    with pytest.raises(WeightFileError, match=r"did you mean hydravit-cifar10\?"):
        resources.find("hydravit-cifar", "weights", ".safetensors", WeightFileError)
    with pytest.raises(ProfileError, match=r"choose from .*raspberrypi4, "):
        resources.find("zzz", "devices", ".yaml", ProfileError)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("https://user:secret@host/x.safetensors", "hydrart downloads nothing: download the file, and pass its path"),
        ("file:///tmp/x.safetensors", "an address is not opened"),
        ("", "an empty text is no path and none of the weights that ship: choose from hydravit-cifar10"),
        ("folder/", "folder/ is neither a file nor one of the weights that ship: choose from"),
        ("HydraViT-CIFAR10", "did you mean hydravit-cifar10?"),
        ("hydravit-cifar10.safetensors", "did you mean hydravit-cifar10?"),
        ("two\nlines", "'two\\nlines' is neither"),
        ("a\0b", "'a\\x00b' is neither"),
        ("x" * 5000, "is neither"),
    ],
)
def test_what_is_neither_name_nor_path(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightFileError) as error:
        resources.find(name, "weights", ".safetensors", WeightFileError)
    assert said in told(error) and "secret" not in told(error)


@pytest.mark.parametrize(
    ("names", "said"),
    [(["bf16", "int8"], "did you mean int8?"), (["x", "y"], "choose from x, y"), ([], "choose from none")],
)
def test_suggestions(names: list[str], said: str) -> None:
    assert resources.suggestion("int9", names) == said
