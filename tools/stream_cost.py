"""Measure what a stream costs beyond decoding and inference. Print one JSON object.

    python -m tools.stream_cost [--seconds S] [--watchers N] [--turns N]

The video is the demo clip, scaled to 1080p, as MPEG-4 at 15 fps. The model is the shipped one. The first measurement is
the loop's own latency (age minus preprocessing and inference), and its CPU time against a bare loop of OpenCV's read,
the model and a sleep. The second uses the shape of HydraViT-B at 640x480: how much slower inference gets while N
clients watch the live page. Contestants take turns.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import hydrart
from hydrart.bench.shapes import parse_shape, random_weights
from hydrart.dashboard.controls import Bounds
from hydrart.dashboard.server import Dashboard
from hydrart.format.precision import INT8

FPS, K, ROUNDS = 15.0, 6, 3
SETTLED = 15  # the first frames of a turn do not count, because programs start and end there
# the program of the watchers: N readers of pictures and events, as N browsers would read them
WATCHERS = """
import socket, sys, threading
def read(path):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
        while connection.recv(1 << 16):
            pass
for _ in range(int(sys.argv[2])):
    for path in ("/picture", "/events"):
        threading.Thread(target=read, args=(path,), daemon=True).start()
sys.stdin.read()
"""


def make_video(path: Path, seconds: float) -> None:
    """Write the demo clip at 1080p."""
    clip = [shot.picture for shot in hydrart.Opener("demo").open().shots()][:20]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (1920, 1080))
    for i in range(int(seconds * FPS)):
        writer.write(cv2.resize(np.ascontiguousarray(clip[i % len(clip)][:, :, ::-1]), (1920, 1080)))
    writer.release()


def bare(path: Path, model: hydrart.Model) -> dict[str, float]:
    """The cost of decoding and inference alone."""
    capture = cv2.VideoCapture(str(path))
    cpu, start, frames = time.process_time(), time.monotonic(), 0
    while (read := capture.read())[0]:
        model(read[1][:, :, ::-1], K)
        frames += 1
        time.sleep(max(start + frames / FPS - time.monotonic(), 0))
    return {"cpu_percent": 100 * (time.process_time() - cpu) / (time.monotonic() - start)}


def streamed(path: Path, model: hydrart.Model, watchers: int | None) -> dict[str, float]:
    """The cost of the same through a Stream. watchers: clients of the live page, None for no page."""
    governor = hydrart.Governor(model.profile(), fps=FPS, k=K)
    own, infer = [], []
    with hydrart.Stream(path, model, fps=FPS, governor=governor, keep_frame=watchers is not None) as stream:
        page, readers = None, None
        if watchers is not None:
            page = _page(stream, model, governor)
            readers = _watch(page, watchers)
            time.sleep(1)
        cpu, start = time.process_time(), time.monotonic()
        for result in stream:
            line = result.as_dict()
            if page:
                page.result(result, line)
            own.append(result.age_ms - result.prediction.latency_ms)
            infer.append(result.prediction.infer_ms)
        percent = 100 * (time.process_time() - cpu) / (time.monotonic() - start)
        if readers:
            readers.communicate()
        if page:
            page.close()
    return {
        "cpu_percent": percent,
        "own_ms_p50": statistics.median(own),
        "own_ms_p95": float(np.percentile(own, 95)),
        "infer_ms_p50": statistics.median(infer),
        "infer_ms_mean": statistics.fmean(infer),
    }


def slowed(watchers: int, seconds: float, turns: int) -> dict[str, float]:
    """Median inference time of each turn with watchers, over the mean of the turns around it."""
    picture = next(iter(hydrart.Opener("demo").open().shots())).picture
    picture = cv2.resize(np.ascontiguousarray(picture), (640, 480))
    with random_weights(parse_shape("hydravit-b"), INT8.name) as weights:
        model = hydrart.load(weights, threads=1)
        model.warm_up(K)
        governor = hydrart.Governor(model.profile(), fps=FPS, k=K)
        each = round(seconds * FPS)
        frames = itertools.repeat(picture, (2 * turns + 1) * each)
        medians: list[float] = []
        with hydrart.Stream(frames, model, fps=FPS, governor=governor, keep_frame=True) as stream:
            page = _page(stream, model, governor)
            readers, infer = None, []
            for count, result in enumerate(stream, 1):
                page.result(result, result.as_dict())
                infer.append(result.prediction.infer_ms)
                if count % each == 0:
                    medians.append(statistics.median(infer[SETTLED:]))
                    infer = []
                    if readers:
                        readers.communicate()
                        readers = None
                    elif count < (2 * turns + 1) * each:
                        readers = _watch(page, watchers)
            page.close()
    ratios = [2 * b / (a + c) for a, b, c in zip(medians[::2], medians[1::2], medians[2::2], strict=False)]
    return {"ratio": statistics.median(ratios), "infer_ms": statistics.median(medians[::2]), "turns": turns}


def _page(stream: hydrart.Stream, model: hydrart.Model, governor: hydrart.Governor) -> Dashboard:
    page = Dashboard("127.0.0.1", 0, None, title="x", heads=model.heads, bounds=Bounds(k=K))
    page.begin("x", governor, stream.stats)
    return page


def _watch(page: Dashboard, watchers: int) -> subprocess.Popen[bytes]:
    """Start the watchers. They read until their stdin ends."""
    return subprocess.Popen([sys.executable, "-c", WATCHERS, str(page.port), str(watchers)], stdin=subprocess.PIPE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--watchers", type=int, default=20)
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    model = hydrart.load(threads=1)
    model.warm_up(K)
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "stream": [], "page": [], "watched": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "1080p.mp4")
        make_video(path, options.seconds)
        for _ in range(ROUNDS):
            runs["bare"].append(bare(path, model))
            runs["stream"].append(streamed(path, model, None))
            runs["page"].append(streamed(path, model, 0))
            runs["watched"].append(streamed(path, model, options.watchers))
    report: dict[str, Any] = {
        name: {key: statistics.median(run[key] for run in rounds) for key in rounds[0]} for name, rounds in runs.items()
    }
    report["slowed"] = slowed(options.watchers, min(options.seconds, 5.0), options.turns)
    report = {name: {key: round(value, 3) for key, value in row.items()} for name, row in report.items()}
    print(json.dumps(report | {"fps": FPS, "k": K, "seconds": options.seconds, "watchers": options.watchers}))


if __name__ == "__main__":
    main()
