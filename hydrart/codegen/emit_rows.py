"""LLVM IR of GELU, softmax and quantisation over rows of float32. Numba's own loops take nearly twice as long."""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from hydrart.codegen.emit import F32, I8, I16, I32, I64, Loop, bfloat16, declare, define, load, offset, splat, store
from hydrart.codegen.isa import ARM, Isa

# For |x| up to EDGE, erf(x) = x * polynomial(t) with t = 2 x^2 / EDGE^2 - 1. Beyond it, |erf| is 1 in float32. The
# polynomial is a minimax fit of erf(x) / x (Lawson's algorithm). Its error is below 5e-7, that of GELU below 1.5e-6.
EDGE = 3.5
ERF = (
    0.403872997, -0.200701043, 0.146750182, -0.114612751, 0.088402167, -0.0647706464, 0.0450154766,
    -0.0300317593, 0.0170495417, -0.0072279158, 0.00447436189, -0.00398736447, 0.0014809079,
)  # fmt: skip

# 2^x = polynomial(x) for x from -1/2 to 1/2: the Taylor series, relative error below 2e-7
EXP2 = (1.0, 0.6931471805599453, 0.2402265069591007, 0.05550410866482158, 0.009618129107628477, 1.3333558146428443e-3,
        1.5403530393381608e-4)  # fmt: skip
EXP2_SHORT = EXP2[:5]  # relative error below 5e-5, a hundredth of bfloat16's
LOG2_E = 1.4426950408889634

FAR = -3e38  # a score that gives 0


class _Vectors:
    """Arithmetic on float32 vectors of one instruction set."""

    def __init__(self, b: Any, isa: Isa) -> None:
        self.b, self.n = b, isa.lanes
        self.avx512 = "avx512f" in isa.needs
        self.keeps_nan = isa.architecture == ARM  # in larger() and smaller()
        self.kind = ir.VectorType(F32, isa.lanes)

    @property
    def lowest(self) -> float:
        """The exponent at which scale() gives almost 0. Lower ones would give denormal numbers, which are slow."""
        return -126.0 if self.avx512 else -127.0

    def constant(self, value: float) -> Any:
        return ir.Constant(self.kind, [_single(value)] * self.n)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        return self.b.call(declare(self.b.module, f"llvm.fma.v{self.n}f32", self.kind, [self.kind] * 3), [x, y, z])

    def polynomials(self, coefficients: tuple[float, ...], xs: list[Any]) -> list[Any]:
        """Horner's rule for several vectors at once. A single chain would wait for its own results."""
        ys = [self.constant(coefficients[-1])] * len(xs)
        for c in coefficients[-2::-1]:
            ys = [self.fma(y, x, self.constant(c)) for y, x in zip(ys, xs, strict=True)]
        return ys

    def larger(self, x: Any, y: Any) -> Any:
        """The larger of two. Where one of them is NaN: NaN on ARM, y on x86, each in one instruction."""
        return self._extreme(">", "maximum", x, y)

    def smaller(self, x: Any, y: Any) -> Any:
        """The smaller of two. It takes NaNs as larger() does."""
        return self._extreme("<", "minimum", x, y)

    def _extreme(self, comparison: str, name: str, x: Any, y: Any) -> Any:
        if self.keeps_nan:
            function = declare(self.b.module, f"llvm.{name}.v{self.n}f32", self.kind, [self.kind] * 2)
            return self.b.call(function, [x, y])
        return self.b.select(self.b.fcmp_ordered(comparison, x, y), x, y)

    def scale(self, x: Any, whole: Any) -> Any:
        """x * 2^whole, for whole numbers from self.lowest to 127."""
        i32 = ir.VectorType(I32, self.n)
        if self.avx512:
            kinds = [self.kind, self.kind, self.kind, I16, I32]
            function = declare(self.b.module, "llvm.x86.avx512.mask.scalef.ps.512", self.kind, kinds)
            return self.b.call(function, [x, whole, x, I16(-1), I32(4)])
        exponent = self.b.add(self.b.fptosi(whole, i32), ir.Constant(i32, [127] * self.n))
        return self.b.fmul(x, self.b.bitcast(self.b.shl(exponent, ir.Constant(i32, [23] * self.n)), self.kind))

    def sum(self, x: Any) -> Any:
        """The sum of the lanes."""
        return self._reduce("fadd", [ir.Constant(F32, -0.0), x], ("reassoc",))

    def largest(self, x: Any) -> Any:
        """The largest lane. A NaN, which only ARM may have here, is the largest."""
        return self._reduce("fmaximum", [x]) if self.keeps_nan else self._reduce("fmax", [x], ("nnan",))

    def smallest(self, x: Any) -> Any:
        """The smallest lane. A NaN, which only ARM may have here, is the smallest."""
        return self._reduce("fminimum", [x]) if self.keeps_nan else self._reduce("fmin", [x], ("nnan",))

    def _reduce(self, name: str, values: list[Any], flags: tuple[str, ...] = ()) -> Any:
        types = [v.type for v in values]
        function = declare(self.b.module, f"llvm.vector.reduce.{name}.v{self.n}f32", F32, types)
        return self.b.call(function, values, fastmath=flags)


def gelu(module: Any, isa: Isa) -> Any:
    """Exact (erf) GELU of float32 in place, x/2 (1 + erf(x / sqrt 2)). Arguments: row, n (a multiple of 64).

    Error below 1.5e-6 + 3e-7 |x|.
    """
    unroll = 4

    def body(b: Any, args: list[Any]) -> None:
        row, n = args
        v = _Vectors(b, isa)
        low, high = v.constant(-EDGE), v.constant(EDGE)

        def step(at: Any, _: list[Any]) -> list[Any]:
            places = [offset(b, at, i * isa.lanes * 4) for i in range(unroll)]
            xs = [load(b, place, v.kind) for place in places]
            us = [b.fmul(x, v.constant(0.7071067811865476)) for x in xs]
            us = [v.smaller(v.larger(u, low), high) for u in us]
            ts = [v.fma(b.fmul(u, u), v.constant(2 / EDGE**2), v.constant(-1.0)) for u in us]
            for place, x, u, y in zip(places, xs, us, v.polynomials(ERF, ts), strict=True):
                half = b.fmul(x, v.constant(0.5))
                store(b, v.fma(half, b.fmul(u, y), half), place)
            return []

        _sweep(b, row, n, unroll * isa.lanes, [], step)

    return define(module, isa, "gelu", 2, body)


def softmax(module: Any, isa: Isa, short: bool = False) -> Any:
    """exp(scale * (x - max)) of a row in place. The reciprocal of the sum is stored apart.

    The caller multiplies the weighted values by it, because they are fewer than the row's numbers.

    Arguments: row, n, scale (the bits of a float32), inverse (the address of the reciprocal). The row has room for a
    multiple of 16 numbers; those after n become 0 or 2^-126. short: whether the results are bfloat16, from the row's
    start on. Their relative error is below 1e-6 (short: half a unit of bfloat16). The float32 sum is of the results
    before rounding. A NaN in the row makes the reciprocal NaN.
    """
    unroll = min(4, 16 // isa.lanes)

    def body(b: Any, args: list[Any]) -> None:
        row, n, scale, inverse = args
        v = _Vectors(b, isa)
        padded = b.and_(b.add(n, I64(15)), I64(-16))
        _fill(b, v, row, n, padded)

        def largest(at: Any, found: list[Any]) -> list[Any]:
            return [v.larger(load(b, offset(b, at, i * isa.lanes * 4), v.kind), found[i]) for i in range(unroll)]

        most = _sweep(b, row, padded, unroll * isa.lanes, [v.constant(FAR)] * unroll, largest)
        while len(most) > 1:
            most = [v.larger(x, y) for x, y in zip(most[::2], most[1::2], strict=True)]
        factor = b.fmul(b.bitcast(b.trunc(scale, I32), F32), ir.Constant(F32, _single(LOG2_E)))
        shift = splat(b, b.fneg(b.fmul(v.largest(most[0]), factor)), isa.lanes)
        factor = splat(b, factor, isa.lanes)
        rint = declare(b.module, f"llvm.rint.v{isa.lanes}f32", v.kind, [v.kind])

        def exponentials(at: Any, sums: list[Any]) -> list[Any]:
            places = [offset(b, at, i * isa.lanes * 4) for i in range(unroll)]
            xs = [v.larger(v.constant(v.lowest), v.fma(load(b, place, v.kind), factor, shift)) for place in places]
            wholes = [b.call(rint, [x]) for x in xs]
            ys = v.polynomials(
                EXP2_SHORT if short else EXP2, [b.fsub(x, whole) for x, whole in zip(xs, wholes, strict=True)]
            )
            ys = [v.scale(y, whole) for y, whole in zip(ys, wholes, strict=True)]
            for y, place in zip(ys, places, strict=True):
                if short:
                    store(b, bfloat16(b, y), b.add(row, b.lshr(b.sub(place, row), I64(1))))
                else:
                    store(b, y, place)
            return [b.fadd(total, y) for total, y in zip(sums, ys, strict=True)]

        sums = _sweep(b, row, padded, unroll * isa.lanes, [v.constant(0.0)] * unroll, exponentials)
        while len(sums) > 1:
            sums = [b.fadd(x, y) for x, y in zip(sums[::2], sums[1::2], strict=True)]
        store(b, b.fdiv(ir.Constant(F32, 1.0), v.sum(sums[0])), inverse)

    return define(module, isa, "softmax.bf16" if short else "softmax", 4, body)


def quantise(module: Any, isa: Isa, lowest: int, highest: int) -> Any:
    """Quantise a row to bytes q from `lowest` to `highest`, so that x is about low + step * q.

    The row's smallest number becomes `lowest` and its largest `highest`. The others are rounded to nearest. A row of
    equal numbers has step 0. A row with a NaN or an infinity has the step NaN. Arguments: row (float32), n (a multiple
    of 16), target (bytes), scale (the address where step and low are stored).
    """
    unroll = 16 // isa.lanes
    bytes_ = ir.VectorType(I8, isa.lanes)
    i32 = ir.VectorType(I32, isa.lanes)
    # the lowest bits of magic + x are x, rounded to nearest
    magic = 1.5 * 2.0**23

    def body(b: Any, args: list[Any]) -> None:
        row, n, target, scale = args
        v = _Vectors(b, isa)

        def extremes(at: Any, found: list[Any]) -> list[Any]:
            xs = [load(b, offset(b, at, i * isa.lanes * 4), v.kind) for i in range(unroll)]
            lows = [v.smaller(x, y) for x, y in zip(xs, found[:unroll], strict=True)]
            highs = [v.larger(x, y) for x, y in zip(xs, found[unroll : 2 * unroll], strict=True)]
            # where larger() loses NaNs, the sum of 0 * x keeps them; its chain is no longer than that of the extremes
            zeros = [
                v.fma(x, v.constant(0.0), zero) for x, zero in zip(xs, found[2 * unroll :], strict=not v.keeps_nan)
            ]
            return [*lows, *highs, *zeros]

        start = [v.constant(-FAR)] * unroll + [v.constant(FAR)] * unroll
        start += [] if v.keeps_nan else [v.constant(0.0)] * unroll
        found = _sweep(b, row, n, unroll * isa.lanes, start, extremes)
        lows, highs, zeros = found[:unroll], found[unroll : 2 * unroll], found[2 * unroll :]
        while len(lows) > 1:
            lows = [v.smaller(x, y) for x, y in zip(lows[::2], lows[1::2], strict=True)]
            highs = [v.larger(x, y) for x, y in zip(highs[::2], highs[1::2], strict=True)]
        low, high = v.smallest(lows[0]), v.largest(highs[0])
        step = b.fmul(b.fsub(high, low), ir.Constant(F32, _single(1 / (highest - lowest))))
        for zero in zeros:
            step = b.fadd(step, v.sum(zero))
        if v.keeps_nan:  # an infinity makes the step infinite, and 0 times that is NaN
            step = b.fadd(step, b.fmul(step, ir.Constant(F32, 0.0)))
        some = b.fcmp_ordered(">", step, ir.Constant(F32, 0.0))
        factor = b.select(some, b.fdiv(ir.Constant(F32, 1.0), step), ir.Constant(F32, 0.0))
        store(b, step, scale)
        store(b, b.fsub(low, b.fmul(step, ir.Constant(F32, float(lowest)))), offset(b, scale, 4))
        low, factor = splat(b, low, isa.lanes), splat(b, factor, isa.lanes)

        def convert(at: Any, _: list[Any]) -> list[Any]:
            to = b.add(target, b.lshr(b.sub(at, row), I64(2)))
            for i in range(unroll):
                x = b.fsub(load(b, offset(b, at, i * isa.lanes * 4), v.kind), low)
                whole = b.bitcast(v.fma(x, factor, v.constant(magic + lowest)), i32)
                place = b.inttoptr(offset(b, to, i * isa.lanes), bytes_.as_pointer())
                b.store(b.trunc(whole, bytes_), place).align = 1
            return []

        _sweep(b, row, n, unroll * isa.lanes, [], convert)

    return define(module, isa, f"quantise.{lowest}.{highest}", 4, body)


def _sweep(
    b: Any, row: Any, n: Any, width: int, start: list[Any], step: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Call step(address, values) for every `width` of the n numbers. Returns the values after the last call."""
    loop = Loop(b, "sweep", [row, *start])
    at, *before = loop.values
    values = step(at, before)
    following = offset(b, at, width * 4)
    loop.end(b, [following, *values], b.icmp_unsigned("<", following, b.add(row, b.shl(n, I64(2)))))
    return values


def _fill(b: Any, v: _Vectors, row: Any, n: Any, padded: Any) -> None:
    """Write FAR after the first n numbers. It stores whole vectors, because whole vectors are loaded again at once."""
    last = b.sub(padded, I64(16))
    limit = splat(b, b.trunc(b.sub(n, last), I32), v.n)
    for first in range(0, 16, v.n):
        place = b.add(row, b.shl(b.add(last, I64(first)), I64(2)))
        lanes = ir.Constant(limit.type, list(range(first, first + v.n)))
        inside = b.icmp_unsigned("<", lanes, limit)
        store(b, b.select(inside, load(b, place, v.kind), v.constant(FAR)), place)


def _single(value: float) -> float:
    return float(np.float32(value))
