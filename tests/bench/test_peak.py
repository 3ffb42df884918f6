"""The peak of the machine, and the work of the network."""

from dataclasses import replace

import pytest

from hydrart.bench import peak
from hydrart.codegen import isa
from hydrart.format.precision import PRECISIONS
from tests.support.benching import ARCH
from tools.mca import loops


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_peak_is_plausible(precision: str, threads: int) -> None:
    found = peak.measure(precision, threads, 0.05)
    assert 0.2 < found.gops < 100_000 * threads and found.threads == threads
    assert (found.isa, found.dot) == (isa.choose().name, isa.choose().dot(precision))


INSTRUCTIONS = {
    "fma": "vfmadd",
    "maddubs": "vpmaddubsw",
    "vnni": "vpdpbusd",
    "dpbf16": "vdpbf16ps",
    "tdpbf16": "tdpbf16ps",
    "tdpbusd": "tdpbusd",
    "sdot": "sdot",
    "bfmmla": "bfmmla",
    "smmla": "smmla",
}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_peak_s_loop_stays_in_registers(precision: str) -> None:
    here = isa.choose()
    dot = here.dot(precision)
    (loop,) = loops(peak.assembly(precision), f"hydrart.{here.name}.peak.{dot}")
    instruction = "fmla" if here.architecture == isa.ARM and dot == "fma" else INSTRUCTIONS[dot]
    sums = 4 if dot in isa.AMX_DOTS else here.rows * here.vectors
    products = [line for line in loop if instruction in line]
    assert len(products) == 4 * sums, "every product is computed"
    assert not any("(" in line or "[" in line for line in products), "no operand comes from memory"
    assert not any("rsp" in line or "[sp" in line for line in loop), "nothing is spilled"


@pytest.mark.parametrize("merge", [0, 2])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 3])
def test_needed_products_are_those_of_the_matrices(k: int, depth: int, merge: int) -> None:
    arch = replace(ARCH, depth=depth)
    p, n = arch.width(k), arch.tokens(k)

    def product(rows: int, inner: int, columns: int) -> int:
        return rows * inner * columns

    total = product(n - 1, arch.patch_inputs, p) + product(1, p, arch.classes)
    for i in range(depth):
        alive = 1 if i == depth - 1 else n  # tokens that go on
        total += product(alive, p, p) + 2 * product(n, p, p)  # q; k and v
        total += k * (product(alive, arch.head_dim, n) + product(alive, n, arch.head_dim))
        total += product(alive, p, p)
        n -= merge
        alive = min(alive, n)
        total += product(alive, p, 4 * p) + product(alive, 4 * p, p)
    assert peak.needed_macs(arch, k, merge) == total < arch.macs(k, merge)
