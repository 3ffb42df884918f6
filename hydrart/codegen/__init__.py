"""Writes machine code for the CPU at hand; knows nothing of networks.

isa.py chooses the instruction set. emit*.py write the inner loops as LLVM IR. jit.py and pipeline.py compile Numba's
functions around them and keep the result. records.py says how those functions describe their work to the inner loops.

The words of this room and of engine/kernels, each with one meaning:

    product       C = A W: activations A [rows, inputs] times weights W [inputs, columns]. A row is one token, a column
                  one output. The function that computes a product is called gemm.
    dot           the instruction that multiplies lanes and adds them to sums (isa.py)
    lane          32 bits: 1 float32, 2 bfloat16 or 4 int8, which are consecutive inputs of one column
    step          one lane of inputs: a dot takes a step of one row and of one vector of columns
    vector        as many columns as a register has lanes
    strip         as many rows as a microtile has
    microtile     a strip, or with AMX up to five, by some vectors: sums that stay in registers for all steps
    microkernel   the inner loop that computes one microtile
    epilogue      what is done to the sums of a microtile before they are stored: scales, bias, layer scale
    tile          [head_dim / values per lane][head_dim] lanes of a stored matrix (format/layout.py)
    panel         weights that were unpacked for a dot, as wide as a microtile
    group, chunk  the tiles that are taken together: along the columns, along the inputs
    tmm           one of the eight matrix registers of AMX, which Intel calls tiles

Integers are 64 bits wide and say what they count. What ends in `_bytes` is a number of bytes: of `row_bytes` from one
row to the next. What ends in `_log2` is a logarithm. Plurals (rows, steps, vectors, strips) are counts. `first` and
`end` bound a range, without its end. Names of data alone (input, output, weights, bias) are addresses.
"""
