"""Attention of one head against NumPy in float64."""

import numpy as np
import pytest

from hydrart.engine.kernels import attention
from hydrart.engine.kernels.intrinsics import record_at
from hydrart.engine.kernels.state import ATTENTION
from tests.support.emitted import from_bf16
from tests.support.jitted import jitted
from tests.support.products import GUARD, Array, address, bf16

_head_at = record_at(ATTENTION)
_attend, _attend_first = attention.attend, attention.attend_first

SHAPES = [(1, 16), (5, 32), (17, 16), (50, 64), (65, 32), (197, 64)]  # tokens, head_dim
TYPES = [False, pytest.param(True, marks=pytest.mark.skipif(not attention.BFLOAT16, reason="no bfloat16 here"))]


@jitted
def run(head: int) -> None:
    """attend() for the address of an ATTENTION record."""
    _attend(_head_at(head))


@jitted
def run_first(head: int, query: int) -> None:
    """attend_first() for the addresses of an ATTENTION record and a query."""
    _attend_first(_head_at(head), query)


def softmax(scores: Array) -> Array:
    weights: Array = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights


def qkv_rows(tokens: int, head_dim: int, bfloat16: bool, spread: float = 1.0) -> tuple[Array, Array]:
    """Rows of two heads, [tokens][2][q, k, v][head_dim]: float64 values, and as they are stored, with rows to spare."""
    x = np.random.default_rng(tokens).standard_normal((tokens, 2 * 3 * head_dim)).astype(np.float32)
    x[:, : 6 * head_dim] *= np.float32(spread)
    values, stored = bf16(x) if bfloat16 else (x, x)
    spare = np.zeros((attention.MOST_ROWS, stored.shape[1]), stored.dtype)
    return values.astype(np.float64).reshape(tokens, 2, 3, head_dim), np.concatenate((stored, spare))


def attend(stored: Array, tokens: int, head_dim: int, bfloat16: bool, which: range, first: bool = False) -> Array:
    """The second head for those tokens; first: by attend_first(), for the first of them. [tokens, head_dim]"""
    size = attention.attention_scratch_bytes(tokens, head_dim)
    scratch = np.full(size + 64, 0xA5, np.uint8)
    out = np.full((tokens, head_dim + 16), GUARD)
    head = np.zeros(1, ATTENTION)
    second = 3 * head_dim * stored.itemsize
    head["qkv"], head["qkv_row_bytes"] = address(stored) + second, stored.strides[0]
    head["bfloat16"], head["tokens"], head["head_dim"] = bfloat16, tokens, head_dim
    head["first_token"], head["end_token"] = which.start, which.stop
    head["output"], head["output_row_bytes"] = address(out), out.strides[0]
    head["scratch"] = address(scratch)
    if first:
        run_first(address(head), address(stored) + which.start * stored.strides[0] + second)
        assert (out[1:] == GUARD).all()
    else:
        run(address(head))
        assert (out[: which.start, :head_dim] == GUARD).all()
        assert (out[which.stop :, :head_dim] == GUARD).all()
    assert (out[:, head_dim:] == GUARD).all()
    assert (scratch[size:] == 0xA5).all(), "the scratch is larger than attention_scratch_bytes says"
    return out[:, :head_dim]


def oracle(qkv: Array) -> Array:
    """The second head, [tokens, head_dim]."""
    q, k, v = qkv[:, 1].swapaxes(0, 1)
    result: Array = softmax(q @ k.T / np.sqrt(qkv.shape[-1])) @ v
    return result


def bound(qkv: Array, bfloat16: bool) -> float:
    """Of the error: 2e-6 of the largest value in float32; half a unit of bfloat16 where weights are rounded to it."""
    return (2.0**-8 if bfloat16 else 2e-6) * float(np.abs(qkv[:, 1, 2]).max())


@pytest.mark.parametrize("bfloat16", TYPES)
@pytest.mark.parametrize(("tokens", "head_dim"), SHAPES)
def test_all_tokens(tokens: int, head_dim: int, bfloat16: bool) -> None:
    qkv, stored = qkv_rows(tokens, head_dim, bfloat16)
    out = attend(stored, tokens, head_dim, bfloat16, range(tokens))
    assert np.abs(out - oracle(qkv)).max() <= bound(qkv, bfloat16)


@pytest.mark.parametrize("bfloat16", TYPES)
@pytest.mark.parametrize(("tokens", "head_dim"), SHAPES[3:])
def test_some_tokens_are_as_among_all(tokens: int, head_dim: int, bfloat16: bool) -> None:
    _, stored = qkv_rows(tokens, head_dim, bfloat16)
    together = attend(stored, tokens, head_dim, bfloat16, range(tokens))
    for which in (range(7), range(20, 31), range(tokens - 1, tokens), range(4, 4)):
        part = attend(stored, tokens, head_dim, bfloat16, which)
        np.testing.assert_array_equal(part[which.start : which.stop], together[which.start : which.stop])


@pytest.mark.parametrize("bfloat16", TYPES)
@pytest.mark.parametrize(("tokens", "head_dim"), SHAPES)
def test_the_first_token_alone(tokens: int, head_dim: int, bfloat16: bool) -> None:
    """In float32 throughout, also where q, k and v are bfloat16."""
    qkv, stored = qkv_rows(tokens, head_dim, bfloat16)
    out = attend(stored, tokens, head_dim, bfloat16, range(tokens), first=True)
    assert np.abs(out[0] - oracle(qkv)[0]).max() <= bound(qkv, False)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("bfloat16", TYPES)
def test_large_scores_do_not_overflow(bfloat16: bool, first: bool) -> None:
    """Scores of some 1e6: the largest is subtracted, so that one token takes all."""
    qkv, stored = qkv_rows(50, 64, bfloat16, spread=1000.0)
    out = attend(stored, 50, 64, bfloat16, range(50), first)
    rows = 1 if first else 50
    assert np.isfinite(out[:rows]).all()
    q, k, v = qkv[:, 1].swapaxes(0, 1)
    scores = q @ k.T
    sure = np.sort(scores, axis=1)[:, -2] < scores.max(axis=1) - 8 * 1e3  # the next one has a weight below e^-1000
    taken = v[scores.argmax(axis=1)][:rows]
    np.testing.assert_allclose(out[:rows][sure[:rows]], taken[sure[:rows]], rtol=2.0**-8 if bfloat16 else 1e-6)
    assert sure.any()


def test_a_query_that_is_nan_changes_no_other() -> None:
    qkv, stored = qkv_rows(17, 16, False)
    stored[3, 48 : 48 + 16] = np.nan  # the second head's query of token 3
    out = attend(stored, 17, 16, False, range(17))
    wanted = oracle(qkv)
    rest = [t for t in range(17) if t != 3]
    assert np.abs(out[rest] - wanted[rest]).max() <= bound(qkv, False)
    assert np.isnan(out[3]).all()


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("bfloat16", TYPES)
def test_a_key_that_is_nan_reaches_every_query(bfloat16: bool, first: bool) -> None:
    _, stored = qkv_rows(17, 16, bfloat16)
    stored[11, 48 + 16] = 0x7FC0 if bfloat16 else np.nan  # the second head's key of token 11, channel 0
    rows = 1 if first else 17
    out = attend(stored, 17, 16, bfloat16, range(17), first)
    assert np.isnan(out[:rows]).all()


def test_a_value_that_is_nan_reaches_every_query() -> None:
    _, stored = qkv_rows(17, 16, False)
    stored[3, 48 + 32 + 5] = np.nan  # the second head's value of token 3, channel 5
    out = attend(stored, 17, 16, False, range(17))
    assert np.isnan(out[:, 5]).all()
    assert np.isfinite(np.delete(out, 5, axis=1)).all()


def test_bits_of_bf16_are_what_the_test_takes_them_for() -> None:
    values, bits = bf16(np.array([1, -2.5, 3.14159, 1 + 2**-8, 1 + 3 * 2**-8], np.float32))
    np.testing.assert_array_equal(values, np.array([1, -2.5, 3.140625, 1, 1 + 2**-6], np.float32))
    np.testing.assert_array_equal(from_bf16(bits), values)
