"""The records in which compiled functions describe their work to a microkernel: 64-bit integers, passed by address."""

import numpy as np

# the types of a record's integers
Address = Bytes = Count = Index = np.int64

# One microtile: C[rows, columns] = A W, then the epilogue. The address of a term that the epilogue lacks is 0.
MICROTILE = np.dtype(
    [
        ("vectors", Count),  # 1 to Isa.vectors
        ("strips", Count),  # 1; with AMX up to emit_amx.AMX_STRIPS
        ("input", Address),  # A, [rows][steps] lanes
        ("input_row_bytes", Bytes),
        ("weights", Address),  # a WEIGHTS record
        ("steps", Count),  # a multiple of emit.UNROLL
        ("ahead", Address),  # an AHEAD record
        ("ahead_bytes", Bytes),  # the part of AHEAD's bytes that was fetched before
        ("output", Address),  # C: bfloat16 with STORE_BF16, else float32
        ("output_row_bytes", Bytes),
        ("mode", Index),  # STORE, ADD or STORE_BF16
        ("bias", Address),  # float32 [columns]
        ("gamma", Address),  # float32 [columns]: layer scale
        ("row_scales", Address),  # float32 [rows]; for integers [rows][step, low]
        ("column_scales", Address),  # float32 [columns]
        ("column_sums", Address),  # float32 [columns]: the sum of a column's int8 weights
    ]
)
STORE, ADD, STORE_BF16 = 0, 1, 2  # store C, add C to the output, or store C as bfloat16

# Where the weights of a microtile are. A list of addresses for each vector follows the record: the addresses of the
# vector's first step in each tile along the inputs. Byte `at` of an input row meets tile `at >> input_bytes_log2`.
WEIGHTS = np.dtype(
    [
        ("input_bytes_log2", Count),  # log2 of the bytes of an input row that meet one tile
        ("step_bytes", Bytes),  # distance from step to step in a tile
        ("tile_mask", Bytes),  # an offset & tile_mask is the offset in its tile
        ("list_bytes", Bytes),  # distance from list to list
        ("run_steps", Count),  # steps for each look-up in a list; `steps` and a tile's steps are multiples of it
    ]
)

# The tiles that are fetched into the second-level cache meanwhile, for later microtiles. Their addresses follow the
# record.
AHEAD = np.dtype(
    [
        ("tile_bytes_log2", Count),
        ("tile_mask", Bytes),
        ("end_bytes", Bytes),  # bytes to fetch in all
        ("lines", Count),  # cache lines to fetch for every UNROLL steps, or with AMX for every run
    ]
)
LINE_BYTES = 64


def offset_of(record: np.dtype[np.void], name: str) -> int:
    """The offset of a field in its record, in bytes."""
    return int(record.fields[name][1])  # type: ignore[index] # it has fields
