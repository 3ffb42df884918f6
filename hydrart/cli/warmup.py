"""hydrart warmup"""

import logging
import time

import click
import numpy as np

from hydrart.cli.errors import one_sentence
from hydrart.cli.options import json_option, print_json, warn
from hydrart.preprocess import Preprocessing, preprocess


@click.command()
@json_option
@one_sentence
def warmup(as_json: bool) -> None:
    """Compile the kernels for this machine, so that no later start has to."""
    compiled = _Count()
    logger = logging.getLogger("hydrart.jit")
    logger.addHandler(compiled)
    warn("loading Numba")
    start = time.perf_counter()
    try:
        ready()
    finally:
        logger.removeHandler(compiled)
    from hydrart import jit
    from hydrart.engine.kernels import isa

    seconds, name, folder = time.perf_counter() - start, isa.choose().name, jit.cache_folder() / jit.key()
    kept = any(folder.glob("*.nbi"))
    if as_json:
        cache = str(folder) if kept else None
        print_json({"isa": name, "compiled": compiled.count, "seconds": seconds, "cache": cache})
        return
    did = "compiled" if compiled.count else "were already compiled, loaded"
    where = f"kept in {folder}" if kept else "not kept: set HYDRART_CACHE to a folder that may be written"
    click.echo(f"kernels for {name.upper()}: {did} in {seconds:.1f} s, {where}")


def ready() -> None:
    """Load everything that is compiled, the engine's kernels and the preprocessing's, or compile it."""
    from hydrart.engine.kernels import forward

    forward.run.ready()
    preprocess(np.zeros((8, 8, 3), np.uint8), Preprocessing(8))


class _Count(logging.Handler):
    """How many functions had to be compiled."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
