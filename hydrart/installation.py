"""Find the command that installs missing packages for this installation of hydrart."""

import importlib.metadata
import importlib.util
import json
import os
import shlex
import sys
import sysconfig
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CHECKOUT = Path(__file__).parents[1]


def install_command(extra: str) -> str:
    """Return the command that installs an extra's packages for the running Python.

    No index has a package called hydrart. So the command names the checkout, wheel or URL of pip's record
    (direct_url.json, https://packaging.python.org/en/latest/specifications/direct-url/). Without a record, it names the
    packages of the extra. Where the system manages Python (PEP 668), the command makes a virtual environment first.
    """
    return f"{_pip_install()} {' '.join(map(shlex.quote, _wanted(extra)))}"


def reinstall_command(module: str, extra: str) -> str:
    """Return the command that reinstalls a module's package, or all packages of an extra for the name ""."""
    top = module.partition(".")[0]
    packages = sorted(set(importlib.metadata.packages_distributions().get(top, [top]))) if top else _wanted(extra)
    again = "--reinstall" if _pip_install().startswith("uv") else "--force-reinstall"
    return f"{_pip_install()} {again} {' '.join(map(shlex.quote, packages))}"


def is_there(module: str) -> bool:
    """Whether a module's package is installed, even if its import fails."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


def _pip_install() -> str:
    if sys.prefix == sys.base_prefix and Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file():
        # On Debian and Raspberry Pi OS, pip refuses to change the system's Python. Its packages stay visible.
        return "python3 -m venv --system-site-packages .venv && .venv/bin/pip install"
    if os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return "pip install"  # an activated environment has its own pip first on the PATH
    if not is_there("pip"):
        return f"uv pip install --python {shlex.quote(sys.executable)}"
    return f"{shlex.quote(sys.executable)} -m pip install"


def _wanted(extra: str) -> list[str]:
    """Return the arguments for pip: a folder, wheel or URL with the extra, or the extra's packages."""
    try:
        distribution = importlib.metadata.distribution("hydrart")
    except importlib.metadata.PackageNotFoundError:  # hydrart runs from a checkout without an installation
        return [_folder(_CHECKOUT, extra)]
    url = _direct_url(distribution)
    path = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
    if path is not None and path.is_dir():
        return [_folder(path, extra)]
    if path is not None and path.is_file():
        return [f"{path}[{extra}]"]
    if url and path is None:
        return [f"hydrart[{extra}] @ {url}"]
    return _packages(distribution, extra)


def _folder(path: Path, extra: str) -> str:
    return f".[{extra}]" if path == Path.cwd() else f"{path}[{extra}]"


def _direct_url(distribution: importlib.metadata.Distribution) -> str:
    """Return hydrart's recorded origin in pip's notation; "" for an index or a system package."""
    try:
        record = json.loads(distribution.read_text("direct_url.json") or "{}")
        url = str(record.get("url", ""))
        if source := record.get("vcs_info"):
            url = f"{source['vcs']}+{url}@{source['commit_id']}"
        folder = record.get("subdirectory")
        return f"{url}#subdirectory={folder}" if folder else url
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""


def _packages(distribution: importlib.metadata.Distribution, extra: str) -> list[str]:
    """Return the distribution's requirements for an extra."""
    found = []
    for requirement in distribution.requires or []:
        package, _, condition = requirement.partition(";")
        if condition.replace('"', "'").strip() == f"extra == '{extra}'":
            found.append(package.strip())
    return found
