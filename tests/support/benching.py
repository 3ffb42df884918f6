"""Helpers of the tests of hydrart bench: a small shape, a report, the installed peers."""

import importlib.util

import pytest

from hydrart.bench.benchmark import BenchReport, BenchRow, PreprocessRow
from hydrart.bench.contest import PeerResult
from hydrart.bench.idle import Idle
from hydrart.bench.machine import Machine, MachineState
from hydrart.bench.memory import FirstCall, Growth
from hydrart.bench.peak import Peak
from hydrart.bench.peers import PEERS
from hydrart.bench.switch_cost import SwitchCost
from hydrart.bench.timing import Times
from hydrart.format.architecture import Architecture

SHAPE = "heads=1-3,head_dim=16,depth=2,image=16,patch=4,classes=7"
ARCH = Architecture(image_size=16, patch=4, depth=2, head_dim=16, heads=(1, 2, 3), classes=7)

PEER = PeerResult(
    "openvino", "2026.1", "int8", True, "int8", 2, 1500.0, True, 0.0123, 0.9987, 1.75, Times(7, 8, 6.5, 9)
)
STRANGER = PeerResult("torch", "2.13", "fp32", False, "", 2, 300.0, False, None, None)


def _row(k: int, ms: float, top1: float | None, peers: list[PeerResult]) -> BenchRow:
    return BenchRow(
        k=k,
        parameters=1000 * k,
        gmacs=0.25 * k,
        gmacs_executed=0.2 * k,
        weights_mb=1.5 * k,
        top1=top1,
        times=Times(ms, ms + 1, ms - 1, 42),
        pictures_per_s=1000 / ms,
        gops=40.0,
        share_of_peak=0.4,
        first_call=FirstCall(900.0, 3.0, 11.5, None, None),
        switch=1.002 if k > 1 else None,
        speedup=1.5 if k > 1 else None,
        peers=peers,
    )


REPORT = BenchReport(
    model="net",
    precision="int8",
    executed="fp32",
    image_size=16,
    heads=(1, 2, 3),
    threads=2,
    batch=1,
    merges=(),
    machine=Machine("Some CPU", 4, "avx2", "Linux 6 x86_64", "3.11.7", "2.4.6", "0.68.1", "0.50.0", "0.1.0"),
    before=MachineState(41.25, 7, None, 1500.0, "ondemand", 0.25),
    after=MachineState(None, None, True, None, None, None),
    peak=Peak(100.0, "fma", "avx2", 2),
    peak_after=Peak(90.0, "fma", "avx2", 2),
    rows=[_row(1, 2.0, 0.75, []), _row(3, 4.0, 0.8, [PEER, STRANGER])],
    switching=SwitchCost(60, 1.004, 1.1, {3: 1.002}),
    empty_growth=Growth(12_345, None),
    idle=Idle(3, 15.0, 14.9, 30.0, None),
    preprocessing=[PreprocessRow("480p", 640, 480, Times(1.0, 2.0, 0.5, 9))],
    seconds=61.5,
    others_load=0.05,
)
"""Return an invented report. Some figures are unknown, and one peer's answers disagree."""

_MODULES = {
    "onnxruntime": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "onnxruntime", "openvino"),
    "torch": ("torch",),
}


def available() -> list[str]:
    """Return the installed peers."""
    return [name for name in PEERS if all(importlib.util.find_spec(module) for module in _MODULES[name])]


def needs(peer: str) -> None:
    """Skip the test without the peer."""
    if peer not in available():
        pytest.skip(f"{peer} is not installed (extra: {'train' if peer == 'torch' else 'bench'})")
