"""hydrart warmup"""

import logging
import time

import click

from hydrart.cli.exit_codes import one_sentence
from hydrart.cli.options import json_option, print_json, print_text, warn
from hydrart.model import ready


@click.command()
@json_option
@one_sentence
def warmup(as_json: bool) -> None:
    """Compile the kernels now, so that later starts are fast."""
    compiled = _Count()
    logger = logging.getLogger("hydrart.codegen.jit")
    logger.addHandler(compiled)
    warn("loading Numba")
    start = time.perf_counter()
    try:
        ready()
    finally:
        logger.removeHandler(compiled)
    from hydrart.codegen import cache, isa
    from hydrart.engine.kernels import forward

    seconds, name, folder = time.perf_counter() - start, isa.choose().name, cache.folder()
    kept = forward.run.is_kept()
    if as_json:
        place = str(folder) if kept else None
        print_json({"isa": name, "compiled": compiled.count, "seconds": seconds, "cache": place})
        return
    did = "compiled" if compiled.count else "were already compiled, loaded"
    where = f"kept in {folder}" if kept else "not kept: set HYDRART_CACHE to a folder that only you may write"
    print_text(f"kernels for {name.upper()}: {did} in {seconds:.1f} s, {where}")


class _Count(logging.Handler):
    """Counts the compiled functions."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1
