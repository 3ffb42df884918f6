"""A message for people while the kernels are compiled, which makes the first start slow."""

import logging

from hydrart.cli.options import warn

_log = logging.getLogger("hydrart.codegen.jit")


class _Once(logging.Handler):
    """Writes one message for any number of compiled functions."""

    written = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.written and record.levelno == logging.INFO:
            from hydrart.codegen import isa

            self.written = True
            warn(f"compiling the kernels for {isa.choose().name.upper()}, once per machine: 10 s or more")


def tell_when_compiling() -> None:
    """Write the message at the next compilation. Each call allows one more message."""
    for handler in _log.handlers[:]:
        if isinstance(handler, _Once):
            _log.removeHandler(handler)
    _log.addHandler(_Once())
    _log.setLevel(logging.INFO)
