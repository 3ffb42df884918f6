"""Predict with llvm-mca how near the generated inner loops come to the peak of a core: a table of cores and dots.

    python -m tools.mca [--llvm-mca PROGRAM]

The peak is the prediction of the same model for independent dot instructions. No code runs, so caches and memory play
no part.
"""

import argparse
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from hydrart.codegen import emit
from hydrart.codegen.emit_microkernel import microkernel
from hydrart.codegen.isa import ARM, ISAS, LANE_VALUES, MMLA_DOTS, Isa
from hydrart.format.precision import PRECISIONS

# core -> its instruction set, and the CPU whose model LLVM is asked for
CORES = {
    "cortex-a53": ("neon", "cortex-a53"),
    "cortex-a72": ("neon", "cortex-a72"),
    "cortex-a76": ("neon-dotprod", "neoverse-n1"),  # the same core; LLVM's model of the A76 has one fmla per cycle
    "neoverse-v1": ("neon-i8mm", "neoverse-v1"),
    "neoverse-n2": ("neon-i8mm", "neoverse-n2"),
    "neoverse-v2": ("neon-i8mm", "neoverse-v2"),
    "haswell": ("avx2", "haswell"),
    "skylake": ("avx2", "skylake"),
    "znver2": ("avx2", "znver2"),
    "znver3": ("avx2", "znver3"),
    "alderlake": ("avx2-vnni", "alderlake"),
    "skylake-avx512": ("avx512", "skylake-avx512"),
    "icelake-server": ("avx512-vnni", "icelake-server"),
    "sapphirerapids": ("avx512-bf16", "sapphirerapids"),
    "znver4": ("avx512-bf16", "znver4"),
}
ITERATIONS = 400


def triple(isa: Isa) -> str:
    """LLVM's name of the platform that the instruction set belongs to."""
    return f"{isa.architecture}-unknown-linux-gnu"


@cache
def target_machine(platform: str, cpu: str) -> Any:
    """LLVM's code generator for a platform. cpu: which to tune for, "" for none."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(platform).create_target_machine(cpu=cpu, opt=3)


def optimised(module: Any, isa: Isa, cpu: str = "") -> Any:
    """Parse and verify a module, and run the passes that Numba runs on its code."""
    module.triple = triple(isa)
    target = target_machine(module.triple, cpu)
    module.data_layout = str(target.target_data)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(target, options)
    builder.getModulePassManager().run(parsed, builder)
    return parsed


def loops(assembly: str, function: str) -> list[list[str]]:
    """The instructions of each loop without inner branches, in one function of an assembly text."""
    lines = assembly.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith((f"{function}:", f'"{function}":')))
    found, body, label = [], list[str](), ""
    for line in lines[start + 1 :]:
        if line.startswith(".Lfunc_end"):
            break
        if match := re.match(r"(\.LBB\w+):", line):
            body, label = [], match[1]
            continue
        code = re.split(r"\s+(?://|#) ", line)[0].strip()
        if not code or code.startswith((".", "#")):  # directives and marks of inline assembly
            continue
        body.append(code)
        if label and re.match(rf"(j|b)\S*\s.*{re.escape(label)}$", code):
            found.append(body)
            body, label = [], ""
    return found


def dot_loop(isa: Isa, dot: str, cpu: str) -> list[str]:
    """The instructions of one turn of the inner loop: UNROLL steps of the microtile."""
    module = ir.Module()
    function = microkernel(module, isa, dot, isa.vectors)
    function.linkage = ""  # a private function without callers would be dropped
    text = str(target_machine(triple(isa), cpu).emit_assembly(optimised(module, isa, cpu)))
    return loops(text, str(function.name))[0]


def free_dots(isa: Isa, dot: str) -> tuple[list[str], int]:
    """Independent dot instructions, as many as the registers allow, and the number of their products."""
    count = 12 if isa.lanes == 8 else 24
    products = count * isa.lanes * LANE_VALUES[dot] * (2 if dot in MMLA_DOTS else 1)
    if isa.architecture == ARM:
        form = {
            "fma": "fmla v{0}.4s, v31.4s, v30.s[0]",
            "sdot": "sdot v{0}.4s, v31.16b, v30.4b[0]",
            "smmla": "smmla v{0}.4s, v31.16b, v30.16b",
            "bfmmla": "bfmmla v{0}.4s, v31.8h, v30.8h",
        }[dot]
        return [form.format(i) for i in range(count)], products
    form = {
        "fma": "vfmadd231ps {2}, {3}, {0}",
        "dpbf16": "vdpbf16ps {2}, {3}, {0}",
        "vnni": "{4}vpdpbusd {2}, {3}, {0}",
        "maddubs": "vpmaddubsw {2}, {3}, {1}; vpmaddwd {2}, {1}, {1}; vpaddd {1}, {0}, {0}",
    }[dot]
    file = "%zmm" if isa.lanes == 16 else "%ymm"
    rest = [f"{file}{count + i}" for i in range(3)]
    prefix = "{vex} " if isa.lanes == 8 else ""
    code = [part for i in range(count) for part in form.format(f"{file}{i}", *rest, prefix).split("; ")]
    return code, products


def cycles(llvm_mca: str, isa: Isa, cpu: str, code: list[str]) -> float:
    """The predicted cycles of one turn of a loop with this body."""
    features = ",".join(f"+{name}" for name in isa.needs)
    done = subprocess.run(
        [llvm_mca, f"-mtriple={triple(isa)}", f"-mcpu={cpu}", f"-mattr={features}", f"-iterations={ITERATIONS}"],
        input="\n".join(code),
        capture_output=True,
        text=True,
        check=False,
    )
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    if not total:
        raise SystemExit(f"{llvm_mca} cannot predict {cpu}: {done.stderr.strip()[-300:]}")
    return int(total[1]) / ITERATIONS


def table(llvm_mca: str) -> list[str]:
    """The table as lines of Markdown. llvm_mca: path of the program."""
    lines = [
        "| core | kernels | dot | microtile | cycles per turn | products per cycle | share of peak | spills |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sets = {isa.name: isa for isa in ISAS}
    for core, (name, cpu) in CORES.items():
        isa = sets[name]
        for dot in dict.fromkeys(isa.dot(precision) for precision in PRECISIONS):
            body = dot_loop(isa, dot, cpu)
            turn = cycles(llvm_mca, isa, cpu, body)
            rate = emit.UNROLL * isa.rows * isa.columns * LANE_VALUES[dot] / turn
            free, products = free_dots(isa, dot)
            share = rate * cycles(llvm_mca, isa, cpu, free) / products
            spills = sum("%rsp" in code or "[sp" in code for code in body)
            microtile = f"{isa.rows}x{isa.columns}"
            lines.append(
                f"| {core} | {name} | {dot} | {microtile} | {turn:.0f} | {rate:.1f} | {share:.0%} | {spills} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llvm-mca", default=shutil.which("llvm-mca-19") or "llvm-mca", help="the program to run")
    args = parser.parse_args()
    if not shutil.which(args.llvm_mca):
        raise SystemExit(f"{args.llvm_mca} is not installed: it is part of LLVM (Debian: llvm-19)")
    print("\n".join(table(args.llvm_mca)))


if __name__ == "__main__":
    main()
