"""The kernels touch nothing beside their weights, tables and buffers, which lie between unreadable pages."""

import os
import signal
import subprocess
import sys

import pytest

from hydrart.codegen import isa
from tests.support.guarded import __name__ as guarded

NETWORKS = int(os.environ.get("HYDRART_TEST_GUARDED", "150"))  # in the slow test, for each instruction set
USABLE = [each.name for each in isa.ISAS if isa.host_features().issuperset(each.needs)]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def check(seed: int, count: int, name: str) -> None:
    done = run("-m", guarded, str(seed), str(count), HYDRART_ISA=name)
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]} {done.stderr[-2000:]}"
    assert len(done.stdout.splitlines()) == count


@pytest.mark.parametrize("at", [-1, 16])
def test_the_pages_are_unreadable(at: int) -> None:
    code = f"import {guarded} as g, ctypes; a = g.Pages().placed(16, 'u1', 1, {at > 0})\n"
    assert run("-c", code + "ctypes.string_at(a.ctypes.data, 16)").returncode == 0
    assert run("-c", code + f"ctypes.string_at(a.ctypes.data + {at}, 1)").returncode == -signal.SIGSEGV


def test_some_networks() -> None:
    check(0, 8, isa.choose().name)


@pytest.mark.slow
@pytest.mark.parametrize("name", USABLE)
def test_many_networks(name: str) -> None:
    check(1000, NETWORKS, name)
