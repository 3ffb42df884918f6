"""Feed hostile bytes to each reader of a file, a pipe or a request.

    python -m tests.support.fuzz READER RUNS [SEED]     structured mutation, in a separate process
    python -m tests.support.fuzz READER RUNS --guided   coverage-guided, with atheris (pip install atheris)

A reader may refuse its input with one sentence, a HydrartError. Any other exception, a crash, or ten
seconds of CPU time is a finding. Its bytes go into READER.found in the working directory.
"""

import contextlib
import faulthandler
import json
import os
import random
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
HOSTILE = ROOT / "tests" / "hostile"
_PATIENCE_S = 10.0
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
_NUMBERS = (
    *(b"0", b"-1", b"1", b"1e9", b"1e308", b"1e999", b"-0.0", b"NaN", b"Infinity", b"nan", b".inf", b"0x" + b"f" * 40),
    *(str(2**power).encode() for power in (8, 31, 32, 62, 63, 64, 1100)),
)
_TEXTS = (b"null", b"true", b"[]", b"{}", b'""', b"[" * 2000, b"{" * 50, b"\x00", b"\xff\xfe", b"\n", b"\r", b'"', b",")


@dataclass
class Reader:
    """A reader of bytes. feed: raises for a finding. framed: the bytes start with a safetensors header."""

    seeds: list[bytes]
    feed: Callable[[bytes], object]
    framed: bool = False


def _refuses(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Return a feed that also accepts a refusal with one sentence."""
    from hydrart.errors import HydrartError

    def feed(data: bytes) -> None:
        try:
            read(data)
        except HydrartError as error:
            assert str(error) and "\n" not in str(error), "no sentence"

    return feed


def _of_file(folder: Path, name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    path = folder / name

    def feed(data: bytes) -> None:
        path.unlink(missing_ok=True)  # an earlier file may still be mapped
        path.write_bytes(data)
        read(path)

    return _refuses(feed)


def _weights(folder: Path) -> Reader:
    from hydrart.engine.weights import KernelWeights
    from hydrart.format.reader import WeightFile
    from tests.support.commands import TINY, TINY_LOOKS
    from tests.support.networks import make_file

    def read(path: Path) -> None:
        file = WeightFile(path)
        if file.meta.architecture.looks:  # the kernels have no tables for them
            dict(file.state(file.heads[-1]))
            return
        weights = KernelWeights(file)
        for k in file.heads:
            weights.prepare(k)

    seeds = [make_file(folder / f"{precision}", TINY, precision).read_bytes() for precision in ("fp32", "int8")]
    seeds += [make_file(folder / arch.fusion, arch, "int8").read_bytes() for arch in TINY_LOOKS]
    return Reader(seeds, _of_file(folder, "x.safetensors", read), framed=True)


def _checkpoint(folder: Path) -> Reader:
    import torch

    from hydrart.convert.checkpoint import read
    from tests.support.commands import TINY
    from tests.support.networks import make_file

    content = {"state_dict": {"a": torch.ones(2, 3), "b.c": torch.zeros(4)}, "arch": "deit", "epoch": 3}
    torch.save(content, folder / "zip.pth")
    torch.save(content, folder / "old.pth", _use_new_zipfile_serialization=False)
    seeds = [(folder / name).read_bytes() for name in ("zip.pth", "old.pth")]
    seeds.append(make_file(folder / "seed.safetensors", TINY).read_bytes()[:6000])
    return Reader(seeds, _of_file(folder, "x.pth", read))


def _shipped(pattern: str, most: int = 4000) -> list[bytes]:
    """Return the first bytes of shipped files."""
    return [path.read_bytes()[:most] for path in sorted((ROOT / "devices").rglob(pattern))[:6]]


def _profile(folder: Path) -> Reader:
    from hydrart.device.profiles import load_device

    return Reader(_shipped("*.yaml"), _of_file(folder, "x.yaml", load_device))


def _trace(folder: Path) -> Reader:
    from hydrart.lab.trace import load_trace

    seeds = [*_shipped("*.csv", 600), b"t_s,slowdown_k3,slowdown_k12,faults\n0,1,2,0\n5.5,1.1,2,1\n"]
    return Reader(seeds, _of_file(folder, "x.csv", load_trace))


def _log(folder: Path) -> Reader:
    from hydrart.lab.replay import read_log

    frame: dict[str, Any] = {"k": 3, "preprocess_ms": 1.5, "infer_ms": 20.25, "age_ms": 30, "missed": False}
    lines: list[dict[str, Any]] = [{"run": {"weights": "hydravit-cifar10"}}]
    lines += [{"frame": i, "t_capture": 10 + i / 30, "dropped": i % 2, "deadline_ms": 33.3} | frame for i in range(4)]
    lines.append({"summary": {"throttled_s": 1.5}})
    return Reader(["\n".join(map(json.dumps, lines)).encode()], _of_file(folder, "x.jsonl", read_log))


def _stdin(folder: Path) -> Reader:
    """Read raw frames. The first line is the value of --source, and the frames follow."""
    from hydrart.source.raw import FORMATS, RawSource

    def read(data: bytes) -> None:
        text, _, frames = data[:60_000].partition(b"\n")  # a pipe holds 64 KB without a reader
        out, into = os.pipe()
        try:
            os.write(into, frames)
            os.close(into)
            source = RawSource(text.decode(errors="replace"), lambda sentence: None, out)
            try:
                for shot in source.shots():
                    assert shot.picture.ndim == 3 and shot.picture.shape[2] == 3
            finally:
                source.close()
        finally:
            os.close(out)

    sizes = [(3 * width * height, f"-:{width}x{height}:".encode()) for width, height in ((4, 4), (6, 2))]
    seeds = [head + name.encode() + b"\n" + bytes(range(size)) * 3 for size, head in sizes for name in FORMATS]
    return Reader(seeds, _refuses(read))


def _control(folder: Path) -> Reader:
    """Parse the body of a request that changes the run."""
    import hydrart
    from hydrart.dashboard.controls import Bounds, Controls
    from tests.support.commands import TINY
    from tests.support.networks import make_file

    model = hydrart.load(make_file(folder / "seed.safetensors", TINY), threads=1)

    def read(data: bytes) -> None:
        try:
            wanted = json.loads(data)
        except (ValueError, RecursionError):  # the page answers 400
            return
        controls = Controls(model.heads, Bounds(max_temp_c=80))
        controls.begin(hydrart.Governor(model.profile(), fps=30))
        controls.want(wanted)
        assert controls.apply() is None
        json.dumps(controls.settings())

    seeds = [b'{"k": 2}', b'{"k": null, "max_temp_c": 70.5}', b'{"max_temp_c": null}']
    return Reader(seeds, _refuses(read))


READERS: dict[str, Callable[[Path], Reader]] = {
    "weights": _weights,
    "checkpoint": _checkpoint,
    "profile": _profile,
    "trace": _trace,
    "log": _log,
    "stdin": _stdin,
    "control": _control,
}


def mutate(draw: random.Random, reader: Reader) -> bytes:
    """Change a seed one to five times. With a framed header, most changes are in it, and its length stays right."""
    data = bytearray(draw.choice(reader.seeds))
    if reader.framed and draw.random() < 0.8:
        size = int.from_bytes(data[:8], "little")
        head = data[8 : 8 + size]
        for _ in range(draw.randint(1, 3)):
            _change(draw, head, reader)
        return len(head).to_bytes(8, "little") + bytes(head) + bytes(data[8 + size :])
    for _ in range(draw.randint(1, 5)):
        _change(draw, data, reader)
    return bytes(data)


def _change(draw: random.Random, data: bytearray, reader: Reader) -> None:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 1, 2, 4, 8, 30, 300)))
    kind = draw.randrange(9)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        data[at:end] = draw.randbytes(end - at)
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = data[at:end] * draw.choice((1, 1, 2, 50))
    elif kind == 4:
        data[at:at] = draw.choice(_TEXTS)
    elif kind == 5:
        other = draw.choice(reader.seeds)
        start = draw.randrange(len(other) + 1)
        data[at:end] = other[start : start + end - at]
    elif kind == 6 and draw.random() < 0.2:
        del data[at:]
    else:
        numbers = list(_NUMBER.finditer(bytes(data[at : at + 500])))
        if numbers:
            number = draw.choice(numbers)
            data[at + number.start() : at + number.end()] = draw.choice((*_NUMBERS, str(draw.random()).encode()))


def _late(number: int, frame: object) -> None:
    raise TimeoutError(f"no answer within {_PATIENCE_S:g} s of CPU time")


def try_one(name: str, reader: Reader, data: bytes) -> None:
    """Feed the bytes. A finding is saved and raised."""
    signal.setitimer(signal.ITIMER_PROF, _PATIENCE_S)
    try:
        try:
            reader.feed(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except BaseException:
        Path(f"{name}.found").write_bytes(data)
        raise


@contextlib.contextmanager
def scratch() -> Any:
    """Return a folder in memory if possible."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder)


def main(name: str, runs: int, *more: str) -> None:
    """Feed a reader this number of inputs. Raises a finding."""
    faulthandler.enable()
    signal.signal(signal.SIGPROF, _late)
    with scratch() as folder:
        if "--guided" in more:
            import atheris

            with atheris.instrument_imports(include=["hydrart"]):
                reader = READERS[name](folder)
            corpus = folder / "corpus"
            corpus.mkdir()
            for number, seed in enumerate(reader.seeds):
                (corpus / str(number)).write_bytes(seed)
            atheris.Setup(
                [sys.argv[0], f"-runs={runs}", "-max_len=20000", "-close_fd_mask=0", str(corpus)], reader.feed
            )
            atheris.Fuzz()
            return
        reader = READERS[name](folder)
        draw = random.Random(int(more[0]) if more else 0)
        now = folder / "now"
        for number in range(runs):
            data = mutate(draw, reader)
            now.write_bytes(data)
            try_one(name, reader, data)
            if (number + 1) % 10_000 == 0:
                print(f"{name}: {number + 1} runs", flush=True)
    print(f"{name}: {runs} runs, nothing found", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
