"""How compiled functions describe their work to a microkernel: records of 64-bit integers, passed by their address."""

import numpy as np

# the types of a record's integers
Address = Bytes = Count = Index = np.int64

# One microtile: C[rows, columns] = A W, then the epilogue. Addresses of the epilogue are 0 where there is nothing.
MICROTILE = np.dtype(
    [
        ("vectors", Count),  # of columns: 1 to Isa.vectors
        ("strips", Count),  # of rows: 1, with AMX up to STRIPS of emit_amx.py
        ("input", Address),  # A, [rows][steps] lanes
        ("input_row_bytes", Bytes),
        ("weights", Address),  # of a WEIGHTS record
        ("steps", Count),  # a multiple of UNROLL of emit.py
        ("ahead", Address),  # of an AHEAD record
        ("ahead_bytes", Bytes),  # of AHEAD's that were fetched before
        ("output", Address),  # C, float32, or bfloat16 with STORE_BF16
        ("output_row_bytes", Bytes),
        ("mode", Index),  # STORE, ADD or STORE_BF16
        ("bias", Address),  # float32 [columns]
        ("gamma", Address),  # float32 [columns]: layer scale
        ("row_scales", Address),  # float32 [rows]; of integers [rows][step, low]
        ("column_scales", Address),  # float32 [columns]
        ("column_sums", Address),  # float32 [columns]: of the int8 weights of a column
    ]
)
STORE, ADD, STORE_BF16 = 0, 1, 2  # C is written, added to what is there, or written as bfloat16

# Where the weights of a microtile lie. The record is followed by a list of addresses for each vector: of the vector's
# first step in each tile down the inputs. Byte `at` of an input row meets tile number `at >> input_bytes_log2`.
WEIGHTS = np.dtype(
    [
        ("input_bytes_log2", Count),  # of an input row: those that meet one tile
        ("step_bytes", Bytes),  # from step to step in a tile
        ("tile_mask", Bytes),  # of an offset in a tile: & tile_mask
        ("list_bytes", Bytes),  # from list to list
        ("run_steps", Count),  # taken with one look at a list; `steps` and a tile's steps are multiples of it
    ]
)

# What is fetched into the second-level cache meanwhile, for later microtiles: tiles, whose addresses follow the record.
AHEAD = np.dtype(
    [
        ("tile_bytes_log2", Count),
        ("tile_mask", Bytes),
        ("end_bytes", Bytes),  # all that is to be fetched
        ("lines", Count),  # cache lines for every UNROLL steps, or with AMX for every run
    ]
)
LINE_BYTES = 64


def offset_of(record: np.dtype[np.void], name: str) -> int:
    """Bytes from the beginning of a record to one of its fields."""
    return int(record.fields[name][1])  # type: ignore[index] # it has fields
