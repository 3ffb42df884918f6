"""The mailbox between the thread that captures and the loop."""

import numpy as np
import pytest

from hydrart.stream.frame import Frame
from hydrart.stream.mailbox import Mailbox


def frame(number: int) -> Frame:
    return Frame(np.zeros((1, 1, 3), np.uint8), number, 0.0, 0.0, 0.0)


def test_mailbox_keeps_the_latest() -> None:
    box = Mailbox()
    with pytest.raises(TimeoutError):
        box.take(0.01)
    box.put(frame(1))
    box.put(frame(2))
    taken = box.take(0.01)
    assert taken is not None and taken.number == 2
    box.put(frame(3))
    box.close(ValueError("late"))
    taken = box.take(0.01)
    assert taken is not None and taken.number == 3, "what had come is still answered"
    with pytest.raises(ValueError, match="late"):
        box.take(0.01)
