"""Caches of machine code that go bad, and the answers of a process that has such a cache."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hydrart.codegen import cache
from tests.support.commands import PATIENCE_S

NAME = "hydrart.example.code"
CONTENT = bytes(range(256)) * 40
NOBODY = 65534
# the resize compiles in a second, and has a file of its own
ANSWER = """
import numpy as np
from hydrart.format.preprocessing import Preprocessing
from hydrart.picture.preprocess import preprocess
picture = np.arange(33 * 47 * 3).astype(np.uint8).reshape(33, 47, 3)
print(preprocess(picture, Preprocessing(8)).tolist())
"""


def answer(folder: Path) -> tuple[str, str]:
    """What a new process with this cache answers, and what it writes to stderr."""
    environment = {**os.environ, "HYDRART_CACHE": str(folder)}
    run = [sys.executable, "-c", ANSWER]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def damages(folder: Path, draw: random.Random) -> tuple[str, Callable[[], object]]:
    """One of the ways in which a cache goes bad, and what makes it so."""
    (file,) = folder.rglob("*.code")
    good = file.read_bytes()

    def flip() -> None:
        at = draw.randrange(len(good))
        file.write_bytes(good[:at] + bytes([good[at] ^ 1 << draw.randrange(8)]) + good[at + 1 :])

    def zeros() -> None:
        at, count = draw.randrange(len(good)), draw.choice((1, 16, 512, 4096))
        file.write_bytes((good[:at] + bytes(count) + good[at + count :])[: len(good)])

    def noise() -> None:
        at, count = draw.randrange(len(good)), draw.choice((1, 16, 512, 4096))
        file.write_bytes((good[:at] + draw.randbytes(count) + good[at + count :])[: len(good)])

    def linked() -> None:
        file.rename(file.with_name("target"))
        file.symlink_to("target")

    def foreign() -> None:
        path = draw.choice((file, file.parent, folder))
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        else:
            path.chmod(0o777)

    ways: dict[str, Callable[[], object]] = {
        "flip": flip,
        "zeros": zeros,
        "noise": noise,
        "cut": lambda: os.truncate(file, draw.randrange(len(good))),
        "twice": lambda: file.write_bytes(good + good),
        "all zeros": lambda: file.write_bytes(bytes(len(good))),
        "empty": lambda: os.truncate(file, 0),
        "mode 777": lambda: draw.choice((file, file.parent, folder)).chmod(0o777),
        "link": linked,
        "foreign": foreign,
    }
    name = draw.choice(list(ways))
    return name, ways[name]


def old_keys(home: Path, count: int) -> list[Path]:
    """Folders of keys, the first used longest ago, all of them more than a day ago."""
    keys = [home / f"{number:024x}" for number in range(count)]
    for number, key in enumerate(keys):
        key.mkdir(mode=0o700)
        (key / NAME).write_bytes(CONTENT)
        at = time.time() - 2 * cache._USED_S - 60 * (count - number)
        os.utime(key, (at, at))
    return keys


def replace_keys(folder: str, seed: int) -> None:
    """Write keys while every key counts as old. Ends the process with 1 if what is read back is no whole file."""
    os.environ["HYDRART_CACHE"] = folder
    cache.MOST_KEYS, cache._USED_S = 3, -1.0
    for turn in range(40):
        key = f"{seed + turn % 7:024x}"
        cache.write(key, NAME, bytes([turn]) * 1000)
        if cache.read(key, NAME) not in (None, *(bytes([each]) * 1000 for each in range(40))):
            os._exit(1)
