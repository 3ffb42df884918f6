"""The native backend's kernels: the network as compiled functions over weights that stay mapped.

forward.py, block.py and class_tokens.py are the network in the order of the paper. layers.py has what its steps share.
merging.py merges tokens. gemm.py, attention.py and rows.py compute. threads.py lets threads wait for each other.
state.py has the records that describe the work. hydrart/codegen/ emits the inner loops and has the glossary.

This table gives the arithmetic of each kernel and the bound of its error. tests/engine/kernels/ checks each line:

    kernel                  adds in   result
    gemm, fma               float32   within 1e-6 of the sum of |a w|: each product is fused with its addition; inputs
                                      are added in order, in chunks of at most 384 (gemm.STEPS_IN_PLACE), and the sums
                                      of chunks after that
    gemm, bfloat16 dots     float32   the same bound, for activations that were rounded to bfloat16
    gemm, integer dots      int32     sums of a chunk are exact. A chunk has at most 1,536 inputs of |q w| <= 255 * 127,
                                      so that nothing overflows; maddubs adds pairs in 16 bits, which 7-bit activations
                                      (at most 2 * 127 * 128) fit. Sums become float32, rounded to nearest; scales and
                                      the sums of columns then add errors as above
    gemm, STORE_BF16                  rounded once, to nearest, ties to even: half a unit, 2^-8 of the result, more
    GELU                    float32   within 1.5e-6 + 3e-7 |x| of x/2 (1 + erf(x / sqrt 2))
    attention, float32      float32   within 2e-6 of the head's largest |v|. The largest score is subtracted first, so
                                      that exp cannot overflow; a NaN among a row's scores makes its result NaN
    attention, bfloat16     float32   q, k, v and exp(...) are bfloat16; within 2^-8 of the head's largest |v|
    attention, class token  float32   as float32, also where q, k and v are bfloat16
    merging                 float32   the tokens of the reference, where float32 tells the likenesses apart
    LayerNorm               float32   within 2e-6 (1 + |mean| / deviation) of the largest |weight|, and 1e-6; the mean
                                      comes first, then the variance from it
    to bfloat16                       rounded to nearest, ties to even; infinities stay, NaNs of arithmetic stay NaN
    to integers                       x is low + step * q, half a step off at most; a row's smallest and largest number
                                      are exact; 0 to 127 for maddubs, 0 to 255 for vnni and tdpbusd, -128 to 127 on
                                      ARM; a NaN or an infinity in a row makes its products NaN

A row's result depends on that row alone, bit by bit: not on the other rows, the batch or the number of threads.
"""
