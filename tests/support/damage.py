"""Take weight files apart, change them, and put them together again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.commands import Json


def taken_apart(path: Path) -> tuple[Json, Json, bytes]:
    """Header, hydrart's own metadata, data."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    return header, json.loads(header["__metadata__"]["hydrart"]), raw[8 + length :]


def put_together(header: Json | str, meta: Json | str | None, data: bytes) -> bytes:
    if isinstance(header, dict):
        if meta is not None:
            header["__metadata__"]["hydrart"] = meta if isinstance(meta, str) else json.dumps(meta)
        header = json.dumps(header)
    text = header.encode()
    return len(text).to_bytes(8, "little") + text + data


def put(*keys: str, value: Any) -> Callable[[Json, Json], None]:
    """Set an entry of the metadata."""

    def change(header: Json, meta: Json) -> None:
        part = meta
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value

    return change
