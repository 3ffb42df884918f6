"""What the kernels are told: one NETWORK record, one MATRIX record for each matrix. Addresses are of mapped weights
or of buffers that the engine keeps; sizes are in elements unless a name says bytes."""

import numpy as np

MATRIX = np.dtype(
    [
        ("first", np.int64),  # index of tile (0, 0) in the table of tile addresses
        ("stride", np.int64),  # entries of the table between output blocks
        ("depth", np.int64),  # input blocks for the k in use
        ("precision", np.int64),  # FP32, BF16 or INT8 of gemm.py
        ("rows", np.int64),  # rows of 32-bit lanes in a stored tile
        ("tile_bytes", np.int64),
        ("tile_shift", np.int64),  # log2 of tile_bytes
        ("sums", np.int64),  # index of the first column's sum in NETWORK's sums, INT8 only
        ("scale", np.int64),  # address of float32 [outputs], INT8 only
        ("bias", np.int64),  # address of float32 [outputs]
        ("mode", np.int64),  # STORE, ADD or STORE_BF16 of emit_gemm.py
        ("activate", np.int64),  # 1: GELU follows
        ("gamma", np.int64),  # address of float32 [outputs], 0 without layer scale
    ],
    align=True,
)

NETWORK = np.dtype(
    [
        ("depth", np.int64),
        ("head_dim", np.int64),
        ("tokens", np.int64),
        ("image_size", np.int64),
        ("patch", np.int64),
        ("channels", np.int64),
        ("classes", np.int64),
        ("most_blocks", np.int64),  # input blocks of the widest matrix
        ("eps", np.float64),
        ("short", np.int64),  # 1: q, k and v are bfloat16
        ("norms", np.int64),  # float32 [depth * 2 + 1][weight, bias][norm_stride]: norm1, norm2 of each block, norm
        ("norm_stride", np.int64),
        ("cls_token", np.int64),  # float32 [embed_dim]
        ("positions", np.int64),  # index in the table of addresses: of each head's float32 [tokens, head_dim]
        # activations of all rows, the tokens of all pictures: addresses of float32 unless said
        ("x", np.int64),  # the residual stream
        ("y", np.int64),  # what LayerNorm or attention gives
        ("qkv", np.int64),  # two of qkv_bytes, in turn: a thread may be a block ahead
        ("qkv_bytes", np.int64),
        ("hidden", np.int64),
        ("converted", np.int64),  # input of a product in the type of its dot, where that is not float32
        ("scales", np.int64),  # step and low of each row that is quantised
        # activations of the class tokens after the last attention
        ("last_x", np.int64),
        ("last_y", np.int64),
        ("last_hidden", np.int64),
        # of each thread
        ("scratch", np.int64),
        ("scratch_bytes", np.int64),
        ("sync", np.int64),  # threads.py
        # the call
        ("threads", np.int64),
        ("k", np.int64),
        ("batch", np.int64),
        ("pictures", np.int64),  # address of float32 [batch, channels, image_size, image_size]
        ("logits", np.int64),  # address of float32 [batch, padded classes], 0 for none
        ("logits_bytes", np.int64),  # from row to row
        ("features", np.int64),  # address of float32 [batch, k * head_dim]
        ("classifier", np.int64),  # index of its MATRIX
        ("sums", np.int64),  # address of the column sums of all INT8 matrices for this k, float32
        ("fill_sums", np.int64),  # 1: they are not there yet
    ],
    align=True,
)
