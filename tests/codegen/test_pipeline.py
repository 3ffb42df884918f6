"""codegen/pipeline.py: a function that only compiled ones call is never machine code of its own."""

from hydrart.codegen import pipeline
from hydrart.codegen.jit import kernel
from tests.support.jitted import jitted


@kernel
def _square(x):  # type: ignore[no-untyped-def]
    return x * x


@kernel
def _fourth(x):  # type: ignore[no-untyped-def]
    return _square(_square(x))


@jitted
def entry(x: int) -> int:
    """Numba compiles it as ever, with what it calls."""
    return int(_fourth(x) + 1)


def test_inner_functions_are_linked_into_the_entry() -> None:
    assert [entry(x) for x in (0, 3, -2)] == [1, 82, 17]
    for inner in (_square, _fourth):
        (made,) = inner.overloads.values()
        assert type(made.library) is pipeline._Part
        assert made.library.get_llvm_str(), "LLVM IR"
        assert not made.library.codegen._engine.is_symbol_defined(made.fndesc.mangled_name), "no machine code"
    (made,) = entry.overloads.values()  # type: ignore[attr-defined]
    assert type(made.library) is not pipeline._Part
