"""Compile the functions that only compiled functions call.

Numba optimises every function together with all that it calls, and makes machine code that Python can call. Here all
functions become part of one entry function, which alone needs that.
"""

from typing import Any

from numba import _dynfunc
from numba.core import compiler, compiler_machinery, typed_passes
from numba.core.codegen import JITCodeLibrary


class _Part(JITCodeLibrary):
    """LLVM IR that is linked into an entry's library later."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@compiler_machinery.register_pass(mutates_CFG=True, analysis_only=False)
class _LowerPart(typed_passes.NativeLowering):
    """Lower to LLVM IR, and stop there."""

    _name = "hydrart_lower_part"

    def run_pass(self, state: Any) -> bool:
        state.library = _Part(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        # Numba identifies a function by the object that Python calls. This object stands in for it and calls nothing.
        name, keep = lowered.fndesc.qualname, (state.library,)
        stand_in = _dynfunc.make_function(lowered.fndesc.lookup_module(), name, "", 0, lowered.env, keep)
        state.targetctx.insert_user_function(stand_in, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=stand_in)
        return True


class Inner(compiler.CompilerBase):
    """Numba's passes, into a library that is only linked."""

    def define_pipelines(self) -> list[Any]:
        passes = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.passes = [
            (_LowerPart if each is typed_passes.NativeLowering else each, what) for each, what in passes.passes
        ]
        passes.finalize()
        return [passes]
