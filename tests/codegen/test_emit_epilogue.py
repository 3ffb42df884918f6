"""codegen/emit_epilogue.py: every term, alone and with the others, in the order that its docstring gives."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from hydrart.codegen.emit import F32, I32, field, load, offset
from hydrart.codegen.emit_epilogue import EPILOGUE, epilogue, row_scale_bytes
from hydrart.codegen.isa import FLOAT_DOTS, Isa
from hydrart.codegen.records import ADD, MICROTILE, STORE, STORE_BF16
from tests.support.emitted import HERE, Array, from_bf16, named, written

ROWS, VECTORS = 2, 2
TERMS = ("row_scales", "column_sums", "column_scales", "bias", "gamma")


def finish(i: Isa, dot: str) -> Any:
    """A function of sums [ROWS, columns], output of the same shape in float32 rows, and a MICROTILE record."""
    columns = VECTORS * i.lanes
    kind = ir.VectorType(F32 if dot in FLOAT_DOTS else I32, i.lanes)

    def body(b: Any, args: list[Any]) -> None:
        sums, output, record = args
        places = product(range(ROWS), range(VECTORS))
        values = {(r, v): load(b, offset(b, sums, 4 * (r * columns + v * i.lanes)), kind) for r, v in places}
        outputs = [offset(b, output, 4 * r * columns) for r in range(ROWS)]
        epilogue(b, i, dot, values, outputs, {name: field(b, record, MICROTILE, name) for name in EPILOGUE})

    return written(i, 3, body)


def by_hand(sums: Array, arrays: dict[str, Array], start: Array | None) -> Array:
    """The formula of the docstring in float64."""
    values = sums.astype(np.float64)
    if "row_scales" in arrays:
        values = values * arrays["row_scales"][:, :1]
    if "column_sums" in arrays:
        values = values + arrays["row_scales"][:, 1:] * arrays["column_sums"]
    values = values * arrays.get("column_scales", 1) + arrays.get("bias", 0)
    values = values * arrays.get("gamma", 1)
    return values if start is None else values + start


@pytest.mark.parametrize("dot", ["fma", "integers"])
@pytest.mark.parametrize("i", HERE, ids=named)
def test_terms(i: Isa, dot: str) -> None:
    rng, columns = np.random.default_rng(0), VECTORS * i.lanes
    floating = dot == "fma"
    run = finish(i, dot if floating else i.int8 if i.int8 not in FLOAT_DOTS else "vnni")
    sums = (100 * rng.standard_normal((ROWS, columns))).astype(np.float32 if floating else np.int32)
    every = {name: rng.standard_normal(columns).astype(np.float32) for name in TERMS}
    every["row_scales"] = rng.standard_normal((ROWS, 1 if floating else 2)).astype(np.float32)
    start = rng.standard_normal((ROWS, columns)).astype(np.float32)
    for used in product((False, True), repeat=len(TERMS)):
        arrays = {name: every[name] for name, wanted in zip(TERMS, used, strict=True) if wanted}
        if "column_sums" in arrays and (floating or "row_scales" not in arrays):
            continue  # they are multiplied by what 0 stands for in a row of integers
        for mode in (STORE, ADD, *([STORE_BF16] if i.rounds_bf16 else [])):
            record, output = np.zeros(1, MICROTILE), start.copy()
            record["mode"] = mode
            for name, values in arrays.items():
                record[name] = values.ctypes.data
            run(sums, output, record)
            expected = by_hand(sums, arrays, start if mode == ADD else None)
            if mode == STORE_BF16:
                found = from_bf16(output.view(np.uint16)[:, :columns])
                np.testing.assert_allclose(found, expected, rtol=2**-8, atol=1e-2)
            else:
                np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-3, err_msg=str((arrays.keys(), mode)))


def test_a_row_of_integers_has_two_scales() -> None:
    assert row_scale_bytes("fma") == 4 and row_scale_bytes("dpbf16") == 4
    assert row_scale_bytes("vnni") == row_scale_bytes("maddubs") == 8
