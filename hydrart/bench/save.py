"""Write measured latencies into a device profile (`hydrart bench --save`)."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hydrart.device.profiles import load_device
from hydrart.errors import ProfileError
from hydrart.targets import replacing


def check_profile(path: Path) -> None:
    """Check before the measurement whether latencies can be saved to this path.

    Raises ProfileError where the file is no device profile, or where its folder does not exist.
    """
    if os.path.exists(path):
        load_device(path)
    if not path.parent.is_dir():
        raise ProfileError(f"{path} cannot be written: {path.parent} is no folder")


def save_latencies(path: Path, latency_ms: Mapping[int, float], description: str) -> None:
    """Write latencies, k -> milliseconds, into a device profile. Its other entries stay, its comments are lost.

    description: for a profile that has none. The file is replaced in one step. Raises ProfileError.
    """
    check_profile(path)
    entries: dict[str, Any] = {"name": path.stem, "description": description}
    if path.exists():
        entries |= yaml.safe_load(path.read_text("utf-8"))
    table = entries.get("latency_ms", {}) | {k: float(f"{ms:.4g}") for k, ms in latency_ms.items()}
    entries["latency_ms"] = dict(sorted(table.items()))
    text = yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)
    with replacing(path, ProfileError) as file:
        file.write(text.encode())
