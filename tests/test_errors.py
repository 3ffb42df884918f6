"""The tree of errors, and what the error about a missing package advises."""

import importlib
from pathlib import Path

import pytest

from hydrart import errors
from hydrart.installation import install_command


def failure(module: str) -> ImportError:
    with pytest.raises(ImportError) as info:
        importlib.import_module(module)
    return info.value


def test_every_error_is_of_the_tree() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 5
    for error in classes:
        assert issubclass(error, errors.HydrartError) and error.__name__ in (errors.__doc__ or "")


def test_a_package_that_is_not_installed() -> None:
    error = errors.MissingExtraError("--serve", "aiohttp", "dashboard", failure("hydrart_no_such_module"))
    assert str(error) == f"--serve needs aiohttp: install it with: {install_command('dashboard')}"


def test_a_package_that_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/__init__.py").write_text("from half import _jpeg\n")
    text = str(errors.MissingExtraError("--serve", "half", "dashboard", failure("half")))
    assert text.startswith("--serve needs half, which is installed but cannot be imported (cannot import name '_jpeg'")
    assert text.endswith(" --force-reinstall half")
    (tmp_path / "half/__init__.py").write_text("import half._jpeg\n")
    text = str(errors.MissingExtraError("--serve", "half", "dashboard", failure("half")))
    assert "which is installed but cannot be imported (No module named 'half._jpeg')" in text


def test_a_package_whose_library_the_system_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    why = "libGL.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "gl.py").write_text(f"raise ImportError({why!r})\n")
    text = str(errors.MissingExtraError("the video file a.mp4", "OpenCV", "video", failure("gl")))
    assert text == (
        "the video file a.mp4 needs OpenCV, which lacks the library libGL.so.1: "
        "install that with the system's package manager"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, "its files are missing"),  # Python imports a folder without code
        ("raise OSError('libx.so: invalid ELF header')", "libx.so: invalid ELF header"),
        ("raise ValueError('numpy.dtype size changed')", "numpy.dtype size changed"),
        ("raise RuntimeError", "RuntimeError"),
        ("import", "invalid syntax"),
    ],
)
def test_an_import_that_fails_in_any_way(
    code: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"broken_{abs(hash(reason))}"
    (tmp_path / name).mkdir()
    if code is not None:
        (tmp_path / name / "__init__.py").write_text(code)
    with pytest.raises(errors.MissingExtraError) as info:
        errors.import_extra(name, "the page", "Broken", "dashboard")
    text = str(info.value)
    assert text.startswith(f"the page needs Broken, which is installed but cannot be imported ({reason}")
    assert text.endswith(f" --force-reinstall {name}")


def test_an_import_that_works() -> None:
    assert errors.import_extra("json.decoder", "x", "x", "x").JSONDecoder
    with pytest.raises(errors.MissingExtraError, match="x needs y: install it with: "):
        errors.import_extra("hydrart_no_such_module", "x", "y", "video")
