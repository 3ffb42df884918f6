"""The line that tells why the first start takes long."""

import logging

from hydrart.cli.options import warn

_log = logging.getLogger("hydrart.codegen.jit")


class _Once(logging.Handler):
    """Tells people once that something is compiled, however many functions it is."""

    told = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self.told:
            from hydrart.codegen import isa

            self.told = True
            warn(f"compiling the kernels for {isa.choose().name.upper()}, once per machine: 10 s or more")


def tell_when_compiling() -> None:
    """From now on, and once more for each command that this process runs."""
    for handler in _log.handlers[:]:
        if isinstance(handler, _Once):
            _log.removeHandler(handler)
    _log.addHandler(_Once())
    _log.setLevel(logging.INFO)
