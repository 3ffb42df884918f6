"""The command that adds an extra, for every way in which hydrart can have been installed."""

import importlib.metadata
import json
import sys
import sysconfig
from pathlib import Path

import pytest

from hydrart import installation
from hydrart.installation import install_command, reinstall_command

METADATA = """Metadata-Version: 2.1
Name: hydrart
Version: 0.1.0
Requires-Dist: numpy>=1.26
Provides-Extra: video
Requires-Dist: opencv-python-headless>=4.9; extra == "video"
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed hydrart without a record of where it came from; the environment is activated."""
    folder = tmp_path / "site/hydrart-0.1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(METADATA)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: importlib.metadata.PathDistribution(folder))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setattr(sys, "base_prefix", "/another")
    return folder


def came_from(folder: Path, **record: object) -> None:
    (folder / "direct_url.json").write_text(json.dumps(record))


def test_a_checkout(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "my hydrart"
    checkout.mkdir()
    came_from(installed, url=checkout.as_uri(), dir_info={"editable": True})
    assert install_command("video") == f"pip install '{checkout}[video]'"
    monkeypatch.chdir(checkout)
    assert install_command("video") == "pip install '.[video]'"


def test_a_wheel(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "hydrart-0.1.0-py3-none-any.whl"
    wheel.touch()
    came_from(installed, url=wheel.as_uri(), archive_info={})
    assert install_command("video") == f"pip install '{wheel}[video]'"
    wheel.unlink()
    assert install_command("video") == "pip install 'opencv-python-headless>=4.9'"


def test_a_url_and_a_repository(installed: Path) -> None:
    came_from(installed, url="https://host/hydrart-0.1.0-py3-none-any.whl", archive_info={})
    assert install_command("video") == "pip install 'hydrart[video] @ https://host/hydrart-0.1.0-py3-none-any.whl'"
    came_from(installed, url="https://host/hydrart.git", vcs_info={"vcs": "git", "commit_id": "abc"}, subdirectory="x")
    assert install_command("video") == "pip install 'hydrart[video] @ git+https://host/hydrart.git@abc#subdirectory=x'"


@pytest.mark.parametrize("record", [None, "{", '"x"', "{}", '{"vcs_info": {}}'])
def test_no_record_of_use(installed: Path, record: str | None) -> None:
    if record is not None:
        (installed / "direct_url.json").write_text(record)
    assert install_command("video") == "pip install 'opencv-python-headless>=4.9'"


def test_a_checkout_that_is_not_installed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    monkeypatch.chdir(Path(__file__).parents[1])
    assert install_command("video") == "pip install '.[video]'"


def test_which_pip(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV")
    assert install_command("video") == f"{sys.executable} -m pip install 'opencv-python-headless>=4.9'"
    monkeypatch.setattr(installation, "is_there", lambda module: module != "pip")
    assert install_command("video").startswith(f"uv pip install --python {sys.executable} 'opencv")
    assert reinstall_command("cv2._x", "video").startswith(f"uv pip install --python {sys.executable} --reinstall ")
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert install_command("video") == (
        "python3 -m venv --system-site-packages .venv && .venv/bin/pip install 'opencv-python-headless>=4.9'"
    )


def test_a_damaged_package_is_installed_anew(installed: Path) -> None:
    assert reinstall_command("numpy.linalg", "video") == "pip install --force-reinstall numpy"
    assert reinstall_command("", "video") == "pip install --force-reinstall 'opencv-python-headless>=4.9'"
