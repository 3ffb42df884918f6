"""Background threads whose unexpected end is known."""

import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

_log = logging.getLogger("hydrart.background")
_threads: "weakref.WeakSet[Background]" = weakref.WeakSet()


class Background(threading.Thread):
    """A daemon thread. If its work raises an error, it logs one sentence, and failures() has it from then on.

    name: of the thread, for people. work: called in the thread with `arguments`.
    """

    def __init__(self, name: str, work: Callable[..., object], *arguments: Any) -> None:
        super().__init__(target=work, args=arguments, name=f"hydrart-{name}", daemon=True)
        self.failure: str | None = None
        _threads.add(self)

    def run(self) -> None:
        """Do the work."""
        try:
            super().run()
        except BaseException as error:  # SystemExit would end the thread without a word
            self.failure = f"the thread {self.name} has ended: {type(error).__name__}"
            _log.warning("%s", self.failure)


def failures() -> list[str]:
    """Return a sentence for each thread of this process that ended with an error and whose owner still lives."""
    return sorted(thread.failure for thread in list(_threads) if thread.failure is not None)
