"""The signal stack is put back after a library replaced it."""

import ctypes

import pytest

from hydrart.bench.signal_stack import StackT, kept_signal_stack, signal_stack


def facts() -> tuple[int | None, int, int]:
    stack = signal_stack()
    return stack.address, stack.flags, stack.bytes


@pytest.mark.parametrize("fails", [False, True])
def test_a_stack_that_a_block_installs_is_gone_after_it(fails: bool) -> None:
    before = facts()
    memory = ctypes.create_string_buffer(1 << 16)
    other = StackT(ctypes.addressof(memory), 0, len(memory))

    def replace() -> None:
        with kept_signal_stack():
            assert ctypes.CDLL(None).sigaltstack(ctypes.byref(other), None) == 0
            assert facts() == (ctypes.addressof(memory), 0, len(memory))
            if fails:
                raise ValueError

    if fails:
        with pytest.raises(ValueError):
            replace()
    else:
        replace()
    assert facts() == before
