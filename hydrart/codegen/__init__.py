"""Write machine code for the CPU at hand. This room knows nothing of networks.

isa.py chooses the instruction set. emit*.py write the inner loops as LLVM IR. jit.py and pipeline.py compile Numba
functions around them and cache the result. These functions describe their work to the inner loops in the records of
records.py.

The words of this room and of engine/kernels, each with one meaning:

    product       C = A W: activations A [rows, inputs] times weights W [inputs, columns]. A row is one token, a column
                  one output. The function that computes a product is called gemm.
    dot           the instruction that multiplies lanes and adds the products to sums (isa.py)
    lane          32 bits: 1 float32, 2 bfloat16 or 4 int8, which are consecutive inputs of one column
    step          one lane of inputs: a dot takes a step of one row and of one vector of columns
    vector        as many columns as a register has lanes
    strip         as many rows as a microtile has
    microtile     a strip, or with AMX up to five, by some vectors: sums that stay in registers for all steps
    microkernel   the inner loop that computes one microtile
    epilogue      the operations on the sums of a microtile before they are stored: scales, bias, layer scale
    tile          [head_dim / values per lane][head_dim] lanes of a stored matrix (format/layout.py)
    panel         weights unpacked for a dot, as wide as a microtile
    group         the tiles along the columns that a product takes together
    chunk         the tiles along the inputs that a product takes together
    tmm           one of the eight matrix registers of AMX, which Intel calls tiles

Integers are 64 bits wide, and their names give the unit. A name with `_bytes` counts bytes; `row_bytes` is the distance
from one row to the next. A name with `_log2` is a logarithm. Plurals (rows, steps, vectors, strips) are counts. `first`
and `end` bound a range that excludes `end`. Plain names of data (input, output, weights, bias) are addresses.
"""
