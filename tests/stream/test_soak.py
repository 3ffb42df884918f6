"""A long run: nothing is lost where nothing may be, and nothing grows.

HYDRART_SOAK=1000000 makes it as long as in docs/streaming.md; without, it takes a minute.
"""

import gc
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hydrart
from hydrart.errors import SourceError
from hydrart.output.log import RotatingLog
from hydrart.source.shot import Shot
from hydrart.stream import watch
from tests.support.commands import TINY
from tests.support.networks import make_file

pytestmark = pytest.mark.slow

FRAMES = int(os.environ.get("HYDRART_SOAK", "60000"))
SETTLED, MOST_GROWTH = 10_000, 2_000_000  # frames, bytes


class Losing:
    """A live source at full speed that fails every few thousand frames; the next goes on with the count."""

    name, detail, live, fps, skipped = "synthetic", "", True, None, 0
    given = 0

    def __init__(self) -> None:
        self._closed = False

    def shots(self) -> Iterator[Shot]:
        rng = random.Random(Losing.given)
        picture = np.zeros((16, 16, 3), np.uint8)
        for _ in range(rng.randrange(500, 5000)):
            if self._closed or Losing.given >= FRAMES:
                return
            Losing.given += 1
            yield Shot(picture.copy(), stamp=Losing.given)
        raise SourceError("lost")

    def close(self) -> None:
        self._closed = True


def measured() -> dict[str, int]:
    """What must not grow. Memory is what this process alone has written: what it shares changes with the others."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "bytes": int(lines["RssAnon"].split()[0]) * 1024,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": int(lines["Threads"]),
    }


def slow_reader(port: int, stop: threading.Event) -> None:
    """Asks for pictures and reads a little now and then."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /picture HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while not stop.wait(0.5) and connection.recv(2000):
            pass


def test_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signal.alarm(900 + FRAMES // 100)  # only a hang takes longer
    server = pytest.importorskip("hydrart.dashboard.server", reason="the extra dashboard is not installed")
    gc.collect()  # what earlier tests left open would close meanwhile
    monkeypatch.setattr(watch, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(Losing, "given", 0)
    model = hydrart.load(make_file(tmp_path / "tiny.safetensors", TINY), threads=1)
    governor = hydrart.Governor(model.profile(), fps=1000)
    rng = random.Random(0)
    log = RotatingLog(tmp_path / "log", 1, {"run": "soak"}, pytest.fail)
    samples: list[dict[str, int]] = []
    stop = threading.Event()
    stamps = 0
    settings: dict[str, Any] = {"fps": 1e6, "governor": governor, "frames": "all", "keep_frame": True, "smooth": 3}
    with hydrart.Stream(Losing, model, **settings) as stream:
        page = server.Dashboard("127.0.0.1", 0, None, title="soak", heads=model.heads)
        page.begin("soak", governor, stream.stats)
        readers = [threading.Thread(target=slow_reader, args=(page.port, stop)) for _ in range(3)]
        for reader in readers:
            reader.start()
        for result in stream:
            assert result.dropped == 0 and result.stamp == result.frame + 1 == stamps + 1
            stamps += 1
            line = result.as_dict()
            log.write(line)
            page.result(result, line)
            if rng.random() < 0.01:
                governor.fix(rng.choice((None, *model.heads)))
            if stamps % max(FRAMES // 20, 1) == 0 or stamps == SETTLED:
                samples.append(measured() | {"frames": stamps})
        stop.set()
        for reader in readers:
            reader.join()
        page.close()
    log.close()
    summary = stream.stats()
    losses = stream._watch.losses
    print(json.dumps({"summary": summary, "losses": losses, "samples": samples}))
    assert stamps == FRAMES == summary["frames"] and summary["dropped"] == 0, "nothing is lost"
    assert losses > FRAMES / 10_000 and summary["switches"] > FRAMES / 1000
    settled = [sample for sample in samples if sample["frames"] >= SETTLED]
    assert settled[-1]["bytes"] - settled[0]["bytes"] < MOST_GROWTH, samples
    for name in ("descriptors", "threads"):  # one reader more or less: a thread ends when the next has begun
        assert abs(settled[-1][name] - settled[0][name]) <= 1, samples
