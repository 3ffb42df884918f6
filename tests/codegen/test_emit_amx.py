"""codegen/emit_amx.py: the shapes of the registers. test_emit_microkernel.py computes, where a CPU has AMX."""

import numpy as np
import pytest
from llvmlite import ir

from hydrart.codegen import emit_amx
from hydrart.codegen.isa import ISAS, Isa
from tests.support.emitted import assembly, named

AMX = [i for i in ISAS if i.amx]


@pytest.mark.parametrize("rows", [1, 3, 16])
@pytest.mark.parametrize("steps", emit_amx.RUNS)
def test_a_configuration_is_that_of_palette_1(steps: int, rows: int) -> None:
    """As Intel's manual has it: byte 0 the palette, from 16 on bytes of a row (uint16), from 48 on rows (uint8)."""
    table = np.frombuffer(emit_amx._palette(steps, rows), np.uint8)
    assert table.size == 64 and table[0] == 1 and not table[1:16].any()
    widths, heights = table[16:48].view("<u2"), table[48:]
    sums, inputs, weights = slice(0, 4), slice(4, 6), slice(6, 8)
    assert (widths[sums] == 64).all() and (heights[sums] == rows).all()
    assert (widths[inputs] == 4 * steps).all() and (heights[inputs] == rows).all()
    assert (widths[weights] == 64).all() and (heights[weights] == steps).all()
    assert not widths[8:].any() and not heights[8:].any(), "there are eight registers"
    assert widths.max() <= 64 and heights.max() <= 16


@pytest.mark.parametrize("i", AMX, ids=named)
def test_as_many_strips_as_two_registers_hold(i: Isa) -> None:
    height = i.rows // 2
    assert emit_amx.AMX_STRIPS * height <= 16 < (emit_amx.AMX_STRIPS + 1) * height


@pytest.mark.parametrize("i", AMX, ids=named)
def test_registers_are_configured_and_released(i: Isa) -> None:
    parts = {
        name: assembly(i).split(f"hydrart.{i.name}.{name}:")[1].split(".Lfunc_end")[0]
        for name in ("configure", "release")
    }
    assert "ldtilecfg" in parts["configure"] and "tilerelease" in parts["release"]
    out = ir.Module()
    emit_amx.configure(out, i)
    shapes = out.get_global(f"hydrart.{i.name}.shapes").initializer.constant
    assert len(shapes) == len(emit_amx.RUNS) * 16 * 64
    for index, steps in enumerate(emit_amx.RUNS):
        for rows in range(1, 17):
            at = (index * 16 + rows - 1) * 64
            assert bytes(shapes[at : at + 64]) == emit_amx._palette(steps, rows)
