"""LLVM IR of the matrix product, for whatever width and dot."""

from typing import Any

from hydrart.codegen.emit import I64, define
from hydrart.codegen.emit_gemm import gemm_tile
from hydrart.codegen.emit_tiles import gemm_tiles
from hydrart.codegen.isa import TILE_DOTS, Isa


def gemm(module: Any, isa: Isa, name: str) -> Any:
    """gemm_tile for as many vectors of columns as the first argument says, 1 to those of the register tile, and as
    many blocks of rows as the second: one, but of tiles."""

    def body(b: Any, args: list[Any]) -> None:
        end = b.append_basic_block("end")
        widest = b.append_basic_block("widest")
        choice = b.switch(args[0], widest)
        for vectors in range(1, isa.vectors + 1):
            block = widest if vectors == isa.vectors else b.append_basic_block(f"vectors{vectors}")
            if vectors < isa.vectors:
                choice.add_case(I64(vectors), block)
            b.position_at_end(block)
            if name in TILE_DOTS:
                b.call(gemm_tiles(module, isa, name, vectors), args[1:])
            else:
                b.call(gemm_tile(module, isa, name, vectors), args[2:])
            b.branch(end)
        b.position_at_end(end)

    return define(module, isa, f"gemm.{name}", 16, body)
