"""Choose the instruction set of the kernels, before anything is compiled.

A dot multiplies 32-bit lanes of activations and weights, each with one or more values, and adds to 32-bit sums:

    fma       float32 times float32                                   every CPU
    dpbf16    2 bfloat16 times 2 bfloat16 into float32                AVX512_BF16
    tdpbf16   the same, 16 by 16 lanes at once                        AMX-BF16
    maddubs   4 uint8 times 4 int8 into int32; sums of pairs saturate
              at 16 bits, so activations have only 7 bits             AVX2, AVX-512BW
    vnni      4 uint8 times 4 int8 into int32                         AVX512_VNNI, AVX-VNNI
    tdpbusd   the same, 16 by 16 lanes at once                        AMX-INT8
    sdot      4 int8 times 4 int8 into int32                          NEON with dotprod
    smmla     2 rows of 8 int8 by 2 columns of 8 into 2 x 2 int32     NEON with i8mm
    bfmmla    2 rows of 4 bfloat16 by 2 columns into 2 x 2 float32    NEON with bf16

On Zen 3, maddubs was measured at 29.4 products per clock, and pairs of int16 (vpmaddwd) at 21.9.
"""

import functools
import os
import platform
from dataclasses import dataclass

from hydrart.errors import SettingError

# dot -> number of values in a lane
LANE_VALUES = {"fma": 1, "dpbf16": 2, "tdpbf16": 2, "bfmmla": 2}
LANE_VALUES |= {"maddubs": 4, "vnni": 4, "tdpbusd": 4, "sdot": 4, "smmla": 4}
FLOAT_DOTS = ("fma", "dpbf16", "tdpbf16", "bfmmla")  # all other dots add integers
AMX_DOTS = ("tdpbf16", "tdpbusd")
MMLA_DOTS = ("smmla", "bfmmla")  # two rows by two columns, over two steps at once

# dot -> range of the integers that activations are quantised to
ACTIVATIONS = {"maddubs": (0, 127), "vnni": (0, 255), "tdpbusd": (0, 255), "sdot": (-128, 127), "smmla": (-128, 127)}

X86, ARM = "x86_64", "aarch64"  # architectures, as LLVM and Linux name them


@dataclass(frozen=True)
class Isa:
    """An instruction set to generate the kernels for.

    - name: for HYDRART_ISA and for messages.
    - architecture: X86 or ARM.
    - lanes: number of 32-bit lanes in a vector.
    - rows, vectors: size of the microtile, rows of activations by vectors of outputs.
    - bf16, int8: the dots for weights of these precisions. float32 weights always take fma.
    - needs: the CPU features that the code needs, by LLVM's names. The kernels are compiled for exactly these.
    """

    name: str
    architecture: str
    lanes: int
    rows: int
    vectors: int
    bf16: str
    int8: str
    needs: tuple[str, ...]

    @property
    def columns(self) -> int:
        """Number of outputs in the microtile."""
        return self.lanes * self.vectors

    @property
    def rounds_bf16(self) -> bool:
        """Whether one instruction rounds float32 to bfloat16. Then q, k and v are bfloat16, unless weights are fp32."""
        return "avx512bf16" in self.needs

    @property
    def amx(self) -> bool:
        """Whether AMX multiplies bf16 and int8 weights."""
        return self.bf16 in AMX_DOTS

    def dot(self, precision: str) -> str:
        """The dot for weights of this precision."""
        return {"fp32": "fma", "bf16": self.bf16, "int8": self.int8}[precision]

    def conversion(self, precision: str) -> str | None:
        """How weights of this precision are unpacked for their dot (emit_pack.unpack); None if they are not."""
        dot = self.dot(precision)
        if dot in MMLA_DOTS:
            return "pairs"
        return f"{precision}-fp32" if precision != "fp32" and dot == "fma" else None


_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512vl", "avx512dq")
_AVX512_BF16 = (*_AVX512, "avx512vnni", "avx512bf16")
_AMX = ("amx-tile", "amx-bf16", "amx-int8")
_NEON = ("neon",)

# best first
ISAS = (
    Isa("amx", X86, 16, 6, 4, "tdpbf16", "tdpbusd", (*_AVX512_BF16, *_AMX)),
    Isa("avx512-bf16", X86, 16, 6, 4, "dpbf16", "vnni", _AVX512_BF16),
    Isa("avx512-vnni", X86, 16, 6, 4, "fma", "vnni", (*_AVX512, "avx512vnni")),
    Isa("avx512", X86, 16, 6, 4, "fma", "maddubs", _AVX512),
    Isa("avx2-vnni", X86, 8, 6, 2, "fma", "vnni", (*_AVX2, "avxvnni")),
    Isa("avx2", X86, 8, 6, 2, "fma", "maddubs", _AVX2),
    Isa("neon-i8mm", ARM, 4, 4, 4, "bfmmla", "smmla", (*_NEON, "dotprod", "i8mm", "bf16")),
    Isa("neon-dotprod", ARM, 4, 5, 4, "fma", "sdot", (*_NEON, "dotprod")),
    Isa("neon", ARM, 4, 5, 4, "fma", "fma", _NEON),
)

# platform.machine() -> architecture
_MACHINES = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}
# LLVM's name of a feature -> its entry in the auxiliary vector (AT_HWCAP, AT_HWCAP2), and its bit; see <asm/hwcap.h>
_ARM_FEATURES = {"dotprod": (16, 20), "i8mm": (26, 13), "bf16": (26, 14)}


def host_features() -> frozenset[str]:
    """The features of this CPU by LLVM's names; empty on an architecture without kernels."""
    architecture = _MACHINES.get(platform.machine())
    if architecture == ARM:
        # LLVM does not report these on Linux, so ask the kernel
        there = [name for name, (entry, bit) in _ARM_FEATURES.items() if _getauxval(entry) >> bit & 1]
        return frozenset([*_NEON, *there])
    if architecture == X86:
        import llvmlite.binding as llvm  # imported late, because it takes a fifth of the time to import hydrart

        features = frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)
        return features if features.isdisjoint(_AMX) or _may_use_amx() else features.difference(_AMX)
    return frozenset()


def choose(name: str | None = None) -> Isa:
    """The instruction set of this name, else of the name in HYDRART_ISA, else the best of this CPU.

    Raises SettingError for an unknown name, and for a CPU that cannot run it.
    """
    features = host_features()
    usable = {isa.name: isa for isa in ISAS if features.issuperset(isa.needs)}
    if not usable:
        raise SettingError(
            f"this CPU ({platform.machine()}) has neither AVX2 with FMA nor NEON, which the native backend needs: "
            "use backend='reference'"
        )
    name = name or os.environ.get("HYDRART_ISA")
    if not name:
        return next(iter(usable.values()))
    if name not in usable:
        raise SettingError(f"this CPU does not have the instruction set {name!r}: choose from {', '.join(usable)}")
    return usable[name]


@functools.cache
def _may_use_amx() -> bool:
    """Ask Linux for the registers of AMX, as Documentation/arch/x86/xstate.rst describes."""
    import ctypes

    arch_prctl, request, tile_data = 158, 0x1023, 18
    return platform.system() == "Linux" and ctypes.CDLL(None).syscall(arch_prctl, request, tile_data) == 0


def _getauxval(kind: int) -> int:
    import ctypes

    function = ctypes.CDLL(None).getauxval
    function.restype = ctypes.c_ulong
    return int(function(ctypes.c_ulong(kind)))
