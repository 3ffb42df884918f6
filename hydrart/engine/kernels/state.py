"""The records that the engine and the kernels share. hydrart/codegen/__init__.py explains the words and the units.

An address points to float32 unless its comment says otherwise. The data is in the mapped weights, or in a buffer of the
engine.
"""

import numpy as np

from hydrart.codegen.records import Address, Bytes, Count, Index

# A weight matrix as it is stored. Its tiles are cut along the outputs and along the inputs. The table of tiles (see
# NETWORK) lists the tiles of output tile 0 by input tile, then those of output tile 1, and so on.
MATRIX = np.dtype(
    [
        ("first_tile", Index),  # its place in the table of tiles
        ("tile_stride", Count),  # entries in the table from output tile to output tile
        ("output_tiles", Count),  # of the k in use
        ("input_tiles", Count),  # of the k in use
        ("precision", Index),  # gemm.FP32, BF16 or INT8
        ("lane_rows", Count),  # rows of lanes in a stored tile
        ("tile_bytes", Bytes),
        ("tile_bytes_log2", Count),
        ("first_sum", Index),  # place of the first column's sum in NETWORK's column_sums; INT8 only
        ("scales", Address),  # [outputs]; INT8 only
        ("bias", Address),  # [outputs]
        ("mode", Index),  # STORE, ADD or STORE_BF16 of codegen/records.py
        ("gelu", Index),  # 1: GELU follows
        ("gamma", Address),  # the layer scale, [outputs]; 0 without one
    ],
    align=True,
)

# The order of the MATRIX records: the patch embedding, four matrices of each block, the classifiers. Block i has
# i * PER_BLOCK + QKV and so on.
PATCH, QKV, PROJ, FC1, FC2, PER_BLOCK = 0, 1, 2, 3, 4, 4

# One product, and the product after it, whose first weights are fetched meanwhile
PRODUCT = np.dtype(
    [
        ("matrix", Index),  # the number of a MATRIX record
        ("first_output_tile", Index),
        ("end_output_tile", Index),
        ("next_matrix", Index),
        ("next_output_tile", Index),
        ("first_row", Index),  # the first row of inputs and outputs
        ("strips", Count),  # the number of strips from there on; inputs and outputs have room for whole strips
        ("input", Address),  # row 0 of the inputs, in the type of the dot
        ("input_row_bytes", Bytes),
        ("input_scales", Address),  # for integers [rows][step, low]
        ("output", Address),  # row 0 of the outputs, at the first output tile; bfloat16 with STORE_BF16
        ("output_row_bytes", Bytes),
        # buffers for the inputs that layers.set_input() converts
        ("converted", Address),  # row 0
        ("converted_row_bytes", Bytes),
        ("converted_scales", Address),  # [rows][step, low]
        ("panels", Address),  # a scratch buffer of gemm.pack_bytes() bytes
    ],
    align=True,
)

# The attention of one head in one picture, for some of its tokens. A row of qkv is [head][q, k, v][head_dim].
ATTENTION = np.dtype(
    [
        ("qkv", Address),  # q of this head and the first token; bfloat16 if `bfloat16`
        ("qkv_row_bytes", Bytes),
        ("bfloat16", Index),  # 1: q, k and v are bfloat16
        ("tokens", Count),
        ("head_dim", Count),
        ("key_bias", Address),  # [tokens], added to the scores of the keys before they are scaled; 0 without merging
        ("first_token", Index),  # the first query
        ("end_token", Index),
        ("output", Address),  # the first token's row of outputs, at the column of this head
        ("output_row_bytes", Bytes),
        ("scratch", Address),  # a buffer of attention_scratch_bytes() bytes
    ],
    align=True,
)

# The work of one thread in a call
WORK = np.dtype(
    [
        ("thread", Index),
        ("tokens", Count),  # tokens of a picture now
        ("merges", Count),  # number of blocks that have merged tokens
        ("first_row", Index),  # the rows that this thread normalises and converts
        ("end_row", Index),
        # the rows and heads for which it computes products and attention (see block.share)
        ("first_product_row", Index),
        ("end_product_row", Index),
        ("first_head", Index),
        ("end_head", Index),
        ("row_threads", Count),  # threads on the same rows, which wait for each other before a product
        ("head_threads", Count),  # threads on the same heads, which wait for each other before attention
        ("scratch", Address),
        ("product", PRODUCT),
        ("attention", ATTENTION),
    ],
    align=True,
)

# How tokens are merged (merging.py), and the tables of it. Each picture has room for NETWORK's tokens.
MERGING = np.dtype(
    [
        ("schedule", Address),  # int64 [depth]: how many tokens each block merges
        ("logarithms", Address),  # [tokens + 1]: log(n) * sqrt(head_dim) of a token that holds n
        ("metric", Address),  # [rows][head_dim]: the direction of a token's keys, with some rows to spare
        ("places", Address),  # int32 [batch][tokens]: where tokens go
        ("sizes", Address),  # two buffers of int32 [batch][tokens], used in turn: how many tokens each token holds
        ("sizes_bytes", Bytes),  # from one to the other
        ("key_bias", Address),  # [batch] rows: `logarithms` of the sizes of now
        ("key_bias_bytes", Bytes),  # from row to row
    ],
    align=True,
)

NETWORK = np.dtype(
    [
        ("depth", Count),  # number of blocks
        ("head_dim", Count),  # channels of a head
        ("tokens", Count),  # tokens of a picture before any are merged: its patches and the class token
        ("image_size", Count),  # side of a picture in pixels
        ("patch", Count),  # side of a patch in pixels
        ("channels", Count),  # channels of a picture
        ("classes", Count),
        ("most_input_tiles", Count),  # input tiles of the widest matrix
        ("eps", np.float64),  # LayerNorm adds it to the variance
        ("bfloat16", Index),  # 1: q, k and v are bfloat16
        ("matrices", Address),  # the MATRIX records
        ("tiles", Address),  # the table of tiles: int64 addresses
        ("positions", Index),  # where that table has the addresses of each head's positions [tokens, head_dim]
        ("position_bytes", Bytes),  # from the position of a token to that of the next
        ("norms", Address),  # [depth * 2 + 1][weight, bias][norm_channels]: norm1 and norm2 of each block, norm
        ("norm_channels", Count),
        ("class_token", Address),  # [channels of the largest k]
        ("gates", Address),  # [depth, p]: factors of x after the attention of each block; 0 without gates
        # what this look takes over from the one before (fusion.py)
        ("fusion", Index),  # fusion.NOTHING, ALL_TOKENS or GRID
        ("fusion_patches", Index),  # the MATRIX record for all tokens, or with GRID for the patches
        ("fusion_class_token", Index),  # the MATRIX record for the class token; GRID only
        ("depthwise", Address),  # [3 * 3, channels of the look before]; GRID only
        ("before_k", Count),  # number of heads of the look before
        ("before_side", Count),  # patches along a side of its pictures
        # activations of all rows, which are the tokens of all pictures
        ("x", Address),  # the residual stream
        ("y", Address),  # the result of LayerNorm or attention
        ("qkv", Address),  # two buffers of qkv_bytes, used in turn, because a thread may be a block ahead
        ("qkv_bytes", Bytes),
        ("hidden", Address),
        ("converted", Address),  # the inputs of a product in the type of its dot, if that is not float32
        ("scales", Address),  # [rows][step, low] of integers
        # activations of the class tokens after the last attention
        ("last_x", Address),
        ("last_y", Address),
        ("last_hidden", Address),
        # a scratch buffer of each thread
        ("scratch", Address),
        ("thread_bytes", Bytes),  # from the scratch of a thread to that of the next
        ("sync", Address),  # the int32 words of threads.py
        # the call
        ("merging", Address),  # a MERGING record; 0 if no tokens are merged
        ("threads", Count),
        ("k", Count),  # number of heads
        ("batch", Count),  # number of pictures
        ("pictures", Address),  # [batch, channels, image_size, image_size]
        ("logits", Address),  # [batch] rows of logits_row_bytes; 0 for features alone
        ("logits_row_bytes", Bytes),
        ("features", Address),  # [batch, k * head_dim]
        ("classifier", Index),  # the number of its MATRIX record
        ("column_sums", Address),  # the sum of each column of all INT8 matrices, for this k
        ("fill_sums", Index),  # 1: this call has to compute them
        ("finishing", Index),  # 1: the call computes the tokens of a look that is done, which the next look takes over
        # a call that may be abandoned
        ("stop", Address),  # an int32, not 0 when the call has to end; address 0 for a call that runs to its end
        ("deadline_ns", Count),  # the call ends then, too, by the clock of intrinsics.monotonic_ns(); 0 for none
        ("abandoned", Index),  # 1: this call ended early, and its results mean nothing
        ("blocks_done", Count),  # number of blocks that this call has finished
    ],
    align=True,
)
