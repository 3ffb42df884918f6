"""codegen/emit.py: what each building block computes on this CPU."""

from typing import Any

import numpy as np
import pytest
from llvmlite import ir

from hydrart.codegen import emit
from hydrart.codegen.emit import F32, I64, Loop
from hydrart.codegen.isa import ACTIVATIONS, ISAS, Isa
from hydrart.codegen.records import WEIGHTS
from tests.support.emitted import HERE, from_bf16, named, random_bf16, written

FOURS = [(i, name) for i in HERE for name in ("maddubs", "vnni") if i.int8 == name]


@pytest.mark.parametrize("n", [1, 2, 100])
def test_a_loop_is_taken_once_at_least_and_hands_its_values_on(n: int) -> None:
    def body(b: Any, args: list[Any]) -> None:
        to, most = args
        loop = Loop(b, "turn", [I64(0), I64(0)])
        turn, total = loop.values
        turn, total = b.add(turn, I64(1)), b.add(total, turn)
        loop.end(b, [turn, total], b.icmp_unsigned("<", turn, most))
        emit.store(b, total, to)

    total = np.zeros(1, np.int64)
    run = written(HERE[0], 2, body)
    run(total, n)
    assert total[0] == n * (n - 1) // 2
    run(total, 0)
    assert total[0] == 0


def test_a_field_of_a_record_and_an_offset() -> None:
    def body(b: Any, args: list[Any]) -> None:
        record, to = args
        for place, name in enumerate(WEIGHTS.names or ()):
            emit.store(b, emit.field(b, record, WEIGHTS, name), emit.offset(b, to, 8 * place))

    record, to = np.zeros(1, WEIGHTS), np.zeros(len(WEIGHTS.names or ()), np.int64)
    for place, name in enumerate(WEIGHTS.names or ()):
        record[name] = 10 + place
    written(HERE[0], 2, body)(record, to)
    assert to.tolist() == list(range(10, 10 + len(to)))


@pytest.mark.parametrize("i", HERE, ids=named)
def test_lanes(i: Isa) -> None:
    n = i.lanes
    kind = ir.VectorType(F32, n)

    def body(b: Any, args: list[Any]) -> None:
        source, to = args
        emit.store(b, emit.splat(b, emit.load(b, emit.offset(b, source, 4), F32), n), to)
        emit.store(b, emit.lane(b, emit.load(b, source, kind), 2, n), emit.offset(b, to, 4 * n))
        emit.store(b, emit.pinned(b, i, emit.load(b, source, kind)), emit.offset(b, to, 8 * n))

    source, to = np.arange(n, dtype=np.float32), np.zeros((3, n), np.float32)
    written(i, 2, body)(source, to)
    assert (to[0] == 1).all() and (to[1] == 2).all() and (to[2] == source).all()


@pytest.mark.parametrize("upper", [0, 1])
def test_halves(upper: int) -> None:
    four = ir.VectorType(F32, 4)

    def body(b: Any, args: list[Any]) -> None:
        first, second, to = args
        emit.store(b, emit.halves(b, emit.load(b, first, four), emit.load(b, second, four), upper), to)

    first, second, to = np.arange(4.0), np.arange(10.0, 14.0), np.zeros(4, np.float32)
    first, second = first.astype(np.float32), second.astype(np.float32)
    written(HERE[0], 3, body)(first, second, to)
    assert to.tolist() == [*first[2 * upper : 2 * upper + 2], *second[2 * upper : 2 * upper + 2]]


@pytest.mark.parametrize(("i", "name"), [*((i, "fma") for i in HERE), *FOURS], ids=named)
def test_a_dot_adds_the_products_of_a_lane(i: Isa, name: str) -> None:
    n = i.lanes
    kind = ir.VectorType(F32 if name == "fma" else emit.I32, n)

    def body(b: Any, args: list[Any]) -> None:
        acc, a, weight, to = args
        values = [emit.load(b, address, kind) for address in (acc, a, weight)]
        emit.store(b, emit.dot(b, i, name, *values), to)

    rng = np.random.default_rng(0)
    if name == "fma":
        acc, a, weight = rng.standard_normal((3, n)).astype(np.float32)
        to, expected = np.zeros(n, np.float32), acc + a.astype(np.float64) * weight
    else:
        low, high = ACTIVATIONS[name]
        a = rng.integers(low, high + 1, (n, 4)).astype(np.int8 if low else np.uint8)
        weight = rng.integers(-127, 128, (n, 4)).astype(np.int8)
        acc, to = rng.integers(-1000, 1000, n).astype(np.int32), np.zeros(n, np.int32)
        expected = acc + (a.astype(np.int64) * weight).sum(axis=1)
    written(i, 4, body)(acc, a, weight, to)
    np.testing.assert_allclose(to, expected, rtol=1e-6, atol=1e-6)


def test_a_dot_that_is_not_known() -> None:
    builder = ir.IRBuilder(ir.Function(ir.Module(), ir.FunctionType(emit.VOID, []), "f").append_basic_block())
    vector = ir.Constant(ir.VectorType(F32, 8), None)
    with pytest.raises(AssertionError, match="mul"):
        emit.dot(builder, ISAS[0], "mul", vector, vector, vector)


@pytest.mark.parametrize("i", [i for i in HERE if i.rounds_bf16], ids=named)
def test_bfloat16_is_the_nearest_and_of_two_the_even(i: Isa) -> None:
    def body(b: Any, args: list[Any]) -> None:
        source, to = args
        emit.store(b, emit.bfloat16(b, emit.load(b, source, ir.VectorType(F32, 16))), to)

    exact, bits = random_bf16(np.random.default_rng(0), (16,))
    to = np.zeros(16, np.uint16)
    run = written(i, 2, body)
    run(exact, to)
    np.testing.assert_array_equal(to, bits)
    between = (bits.astype(np.uint32) << 16 | 0x8000).view(np.float32)
    run(between, to)
    np.testing.assert_array_equal(to, bits + bits % 2)
    assert (np.abs(from_bf16(to) - between) <= np.abs(between) * 2**-8).all()


@pytest.mark.parametrize("i", ISAS, ids=named)
def test_a_function_is_emitted_once_for_the_features_that_it_needs(i: Isa) -> None:
    out = ir.Module()
    calls: list[int] = []
    for _ in range(2):
        function = emit.define(out, i, "x", 1, lambda b, args: calls.append(len(args)))
    text = str(out)
    assert calls == [1] and text.count("define ") == 1 and function.name == f"hydrart.{i.name}.x"
    assert all(f"+{feature}" in text for feature in i.needs) and "noinline" in text


def test_an_intrinsic_is_declared_once() -> None:
    out = ir.Module()
    first, second = (emit.declare(out, "llvm.x", emit.VOID, [I64]) for _ in range(2))
    assert first is second and str(out).count("declare ") == 1


def test_what_is_fetched_ahead() -> None:
    out = ir.Module()
    emit.define(out, ISAS[0], "x", 1, lambda b, args: emit.prefetch(b, args[0], 0, 2))
    (call,) = (line for line in str(out).splitlines() if "call void" in line)
    assert "llvm.prefetch" in call and "i32 0, i32 2, i32 1" in call, "to read, into the second level, data"
