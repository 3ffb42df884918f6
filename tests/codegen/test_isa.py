"""Which instruction set is chosen, for features and machines that are made up."""

import platform

import llvmlite.binding as llvm
import pytest

from hydrart.codegen import isa
from hydrart.codegen.isa import ACTIVATIONS, AMX_DOTS, ARM, FLOAT_DOTS, ISAS, LANE_VALUES, X86, Isa
from hydrart.errors import SettingError

PRECISIONS = ("fp32", "bf16", "int8")


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str, features: tuple[str, ...], amx: bool = False) -> None:
    """A machine that reports these features; amx: whether Linux lets a process use AMX."""
    bits = {(16, 20): "dotprod", (26, 13): "i8mm", (26, 14): "bf16"}
    words = {
        kind: sum(1 << bit for (of, bit), name in bits.items() if of == kind and name in features) for kind in (16, 26)
    }
    monkeypatch.delenv("HYDRART_ISA", raising=False)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(features, True))
    monkeypatch.setattr(isa, "_getauxval", words.get)
    monkeypatch.setattr(isa, "_may_use_amx", lambda: amx)


@pytest.mark.parametrize("expected", ISAS, ids=lambda i: i.name)
def test_a_cpu_with_just_its_features_takes_each(monkeypatch: pytest.MonkeyPatch, expected: Isa) -> None:
    pretend(monkeypatch, {X86: "x86_64", ARM: "aarch64"}[expected.architecture], expected.needs, amx=True)
    assert isa.choose() is expected


def test_amx_that_linux_does_not_allow_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "x86_64", ISAS[0].needs, amx=False)
    assert isa.choose().name == "avx512-bf16"


@pytest.mark.parametrize("machine", ["riscv64", "ppc64le", "i686"])
def test_other_machines_are_no_x86(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    pretend(monkeypatch, machine, ISAS[0].needs, amx=True)
    assert isa.host_features() == frozenset()
    with pytest.raises(SettingError, match="use backend='reference'"):
        isa.choose()


def test_another_set_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "x86_64", ("avx2", "fma", "avxvnni"))
    assert isa.choose("avx2").name == "avx2"
    monkeypatch.setenv("HYDRART_ISA", "avx2")
    assert isa.choose().name == "avx2"
    with pytest.raises(SettingError, match=r"choose from avx2-vnni, avx2$"):
        isa.choose("neon")


@pytest.mark.parametrize("i", ISAS, ids=lambda i: i.name)
def test_the_tables_agree(i: Isa) -> None:
    assert i.architecture == (ARM if "neon" in i.needs else X86)
    assert i.amx == any(feature.startswith("amx") for feature in i.needs)
    for precision in PRECISIONS:
        dot = i.dot(precision)
        assert (dot in ACTIVATIONS) == (dot not in FLOAT_DOTS)
        # weights stay as they are stored where a lane of the dot holds as many as a stored lane
        stored = {"fp32": 1, "bf16": 2, "int8": 4}[precision]
        assert (i.conversion(precision) in (None, "pairs")) == (LANE_VALUES[dot] == stored)
    assert i.amx == (i.int8 in AMX_DOTS)


def test_seven_bits_of_maddubs_are_what_16_bits_hold() -> None:
    low, high = ACTIVATIONS["maddubs"]
    assert low == 0
    assert 2 * high * 128 <= 32767 < 2 * (high + 2) * 128
