"""The records that the engine and the kernels share. All integers; hydrart/codegen/__init__.py has the words.

An address is of float32 unless its comment says otherwise, in the mapped weights or in a buffer that the engine keeps.
"""

import numpy as np

from hydrart.codegen.records import Address, Bytes, Count, Index

# A weight matrix as it is stored. Its tiles are cut along the outputs and along the inputs; the table of tiles
# (NETWORK) lists those of output tile 0 by input tile, then those of output tile 1, and so on.
MATRIX = np.dtype(
    [
        ("first_tile", Index),  # in the table of tiles
        ("tile_stride", Count),  # entries of the table from output tile to output tile
        ("input_tiles", Count),  # for the k in use
        ("precision", Index),  # FP32, BF16 or INT8 of gemm.py
        ("lane_rows", Count),  # rows of lanes in a stored tile
        ("tile_bytes", Bytes),
        ("tile_bytes_log2", Count),
        ("first_sum", Index),  # of the first column, in NETWORK's column_sums; INT8 only
        ("scales", Address),  # [outputs], INT8 only
        ("bias", Address),  # [outputs]
        ("mode", Index),  # STORE, ADD or STORE_BF16 of codegen/records.py
        ("gelu", Index),  # 1: GELU follows
        ("gamma", Address),  # [outputs], layer scale; 0 without
    ],
    align=True,
)

# The order of the MATRIX records: the patch embedding, four matrices of each block, the classifiers. Block i has
# i * PER_BLOCK + QKV and so on.
PATCH, QKV, PROJ, FC1, FC2, PER_BLOCK = 0, 1, 2, 3, 4, 4

# One product, and the one after it, whose first weights are fetched meanwhile
PRODUCT = np.dtype(
    [
        ("matrix", Index),  # of a MATRIX record
        ("first_output_tile", Index),
        ("end_output_tile", Index),
        ("next_matrix", Index),
        ("next_output_tile", Index),
        ("first_row", Index),  # of inputs and outputs
        ("strips", Count),  # of rows from there on; inputs and outputs have room for whole strips
        ("input", Address),  # of row 0, in the type that the dot takes
        ("input_row_bytes", Bytes),
        ("input_scales", Address),  # of row 0: [rows][step, low], of integers
        ("output", Address),  # of row 0 in the column of the first output tile; bfloat16 for STORE_BF16
        ("output_row_bytes", Bytes),
        # where set_input() of layers.py may put converted inputs
        ("converted", Address),  # of row 0
        ("converted_row_bytes", Bytes),
        ("converted_scales", Address),  # of row 0
        ("panels", Address),  # scratch of gemm.pack_bytes()
    ],
    align=True,
)

# One head of one picture, for some of its tokens. q, k and v of a head lie side by side in a row of qkv, which is
# [head][q, k, v][head_dim]
ATTENTION = np.dtype(
    [
        ("qkv", Address),  # of the first token's q of this head; bfloat16 if `bfloat16`
        ("qkv_row_bytes", Bytes),
        ("bfloat16", Index),  # 1: q, k and v are bfloat16
        ("tokens", Count),
        ("head_dim", Count),
        ("first_token", Index),  # of the queries
        ("end_token", Index),
        ("output", Address),  # of the first token's row in the column of this head
        ("output_row_bytes", Bytes),
        ("scratch", Address),  # of attention.scratch_bytes()
    ],
    align=True,
)

# What one thread does in a call
WORK = np.dtype(
    [
        ("thread", Index),
        ("first_row", Index),  # the rows that this thread normalises and converts
        ("end_row", Index),
        # the rows and heads for which it computes products and attention, see share() of block.py
        ("first_product_row", Index),
        ("end_product_row", Index),
        ("first_head", Index),
        ("end_head", Index),
        ("row_threads", Count),  # threads that work on the same rows, and wait for each other before a product
        ("head_threads", Count),  # threads that work on the same heads, and wait for each other before attention
        ("scratch", Address),
        ("product", PRODUCT),
        ("attention", ATTENTION),
    ],
    align=True,
)

NETWORK = np.dtype(
    [
        ("depth", Count),  # blocks
        ("head_dim", Count),  # channels of a head
        ("tokens", Count),  # of a picture: its patches and the class token
        ("image_size", Count),  # pixels of a side
        ("patch", Count),  # pixels of a side
        ("channels", Count),  # of a picture
        ("classes", Count),
        ("most_input_tiles", Count),  # of the widest matrix
        ("eps", np.float64),  # of LayerNorm
        ("bfloat16", Index),  # 1: q, k and v are bfloat16
        ("matrices", Address),  # of MATRIX records
        ("tiles", Address),  # the table of tiles: int64, addresses
        ("positions", Index),  # in the table of tiles, of each head's [tokens, head_dim]
        ("norms", Address),  # [depth * 2 + 1][weight, bias][norm_channels]: norm1 and norm2 of each block, norm
        ("norm_channels", Count),
        ("class_token", Address),  # [channels of the largest k]
        # activations of all rows, the tokens of all pictures
        ("x", Address),  # the residual stream
        ("y", Address),  # the result of LayerNorm or attention
        ("qkv", Address),  # two of qkv_bytes, in turn: a thread may be a block ahead
        ("qkv_bytes", Bytes),
        ("hidden", Address),
        ("converted", Address),  # inputs of a product in the type of its dot, where that is not float32
        ("scales", Address),  # step and low of each row of integers
        # activations of the class tokens after the last attention
        ("last_x", Address),
        ("last_y", Address),
        ("last_hidden", Address),
        # of each thread
        ("scratch", Address),
        ("scratch_bytes", Bytes),
        ("sync", Address),  # int32 words of threads.py
        # the call
        ("threads", Count),
        ("k", Count),  # heads
        ("batch", Count),  # pictures
        ("pictures", Address),  # [batch, channels, image_size, image_size]
        ("logits", Address),  # [batch], rows of padded classes; 0 for none
        ("logits_row_bytes", Bytes),
        ("features", Address),  # [batch, k * head_dim]
        ("classifier", Index),  # of its MATRIX record
        ("column_sums", Address),  # of the columns of all INT8 matrices, for this k
        ("fill_sums", Index),  # 1: they have not been computed yet
    ],
    align=True,
)
