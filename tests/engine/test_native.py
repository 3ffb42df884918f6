"""The native engine against the reference."""

import errno
import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hydrart
from hydrart.codegen.isa import FLOAT_DOTS, ISAS, Isa, choose, host_features
from hydrart.engine import MAX_BATCH, reference
from hydrart.engine.native import NativeEngine
from hydrart.errors import WeightFileError
from hydrart.format.architecture import Architecture, Look
from hydrart.format.layout import tensor_name
from hydrart.format.reader import WeightFile
from hydrart.format.roles import parameters_of
from tests.support.networks import SMALL, make_file

PRECISIONS = ("fp32", "bf16", "int8")
ROOT = Path(__file__).parents[2]  # where another Python finds the tests

Make = Callable[..., Path]

SHAPES = {
    "heads of 16": SMALL,
    "heads of 32": replace(SMALL, head_dim=32),
    "heads of 64": replace(SMALL, head_dim=64, heads=(3, 4, 6)),
    "one and two heads": replace(SMALL, heads=(1, 2)),
    "layer scale": replace(SMALL, layer_scale=True),
    "separate classifiers": replace(SMALL, separate_classifiers=True, heads=(3, 5, 6)),
    "many classes": replace(SMALL, classes=1003),
    "large patches": replace(SMALL, image_size=64, patch=32),
    "one patch": replace(SMALL, image_size=8),
    "pixels as patches": replace(SMALL, image_size=12, patch=1, heads=(3,)),
    "one block": replace(SMALL, depth=1),
    "looks by tokens": replace(SMALL, depth=3, heads=(3, 6), looks=(Look(3, 32), Look(6, 32)), fusion="tokens"),
    "looks by grid": replace(
        SMALL, image_size=40, head_dim=64, heads=(1, 3), looks=(Look(1, 24), Look(3, 40)), fusion="grid"
    ),
    "three looks by tokens": replace(
        SMALL, head_dim=32, heads=(1, 2, 5), looks=tuple(Look(k, 32) for k in (1, 2, 5)), fusion="tokens"
    ),
    "three looks by grid": replace(
        SMALL,
        image_size=48,
        head_dim=32,
        heads=(1, 2, 4),
        looks=(Look(1, 16), Look(2, 48), Look(4, 48)),
        fusion="grid",
    ),
    "looks of one block": replace(
        SMALL, depth=1, image_size=24, heads=(2, 5), looks=(Look(2, 8), Look(5, 24)), fusion="grid"
    ),
}


def pictures(arch: Architecture, count: int, seed: int = 0) -> NDArray[np.float32]:
    shape = (count, arch.channels, arch.image_size, arch.image_size)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def oracle(file: WeightFile, x: NDArray[np.float32], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits and features in float64. Of a network of looks, they are those of the look of k heads."""
    arch, state, tokens = file.meta.architecture, dict(file.state(k)), None
    for look in [each for each in arch.heads if each <= k] if arch.looks else [k]:
        tokens = reference.tokens(state, arch, x.astype(np.float64), look, tokens)
    assert tokens is not None
    features = tokens[:, 0]
    return reference.classify(state, arch, features, k), features


def bound(precision: str, isa: Isa) -> float:
    """The largest root mean square error of logits, relative to theirs: some dots round activations too."""
    dot = isa.dot(precision)
    return 2e-6 if dot == "fma" else 0.01 if dot in FLOAT_DOTS else 0.05


def error(actual: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean((actual - expected) ** 2) / np.mean(expected**2)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("arch", SHAPES.values(), ids=SHAPES.keys())
def test_answers_are_the_reference_s(make_weights: Make, arch: Architecture, precision: str, threads: int) -> None:
    file = WeightFile(make_weights(arch, precision))
    engine = NativeEngine(file, threads)
    for k in arch.heads:
        for batch in (1, 3):
            x = pictures(arch, batch)
            logits, features = oracle(file, x, k)
            assert error(engine.logits(x, k), logits) < bound(precision, choose()), f"k={k}"
            assert error(engine.features(x, k), features) < bound(precision, choose()), f"k={k}"


# the errors of one network after the other, for every precision and k, by the kernels that HYDRART_ISA names
FORCED = """
import json, sys
from tests.engine.test_native import NativeEngine, WeightFile, error, oracle, pictures

for path in sys.argv[1:]:
    file = WeightFile(path)
    arch, engine = file.meta.architecture, NativeEngine(file, 2)
    x = pictures(arch, 2)
    print(json.dumps([error(engine.logits(x, k), oracle(file, x, k)[0]) for k in arch.heads]))
"""


@pytest.mark.parametrize("isa", [i for i in ISAS if host_features().issuperset(i.needs)], ids=lambda isa: isa.name)
def test_every_instruction_set_of_this_cpu_agrees_with_the_reference(make_weights: Make, isa: Isa) -> None:
    names = (*(f"heads of {head_dim}" for head_dim in (16, 32, 64)), "looks by tokens", "looks by grid")
    archs = [SHAPES[name] for name in names]
    cases = [(arch, precision) for arch in archs for precision in PRECISIONS]
    files = [str(make_weights(arch, precision)) for arch, precision in cases]
    variables = os.environ | {"HYDRART_ISA": isa.name}
    done = subprocess.run(
        [sys.executable, "-c", FORCED, *files], env=variables, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for (arch, precision), line in zip(cases, done.stdout.splitlines(), strict=True):
        assert max(json.loads(line)) < bound(precision, isa), (arch.head_dim, precision)


def test_a_network_of_768_channels_is_within_2e_4(make_weights: Make) -> None:
    arch = Architecture(image_size=64, patch=16, depth=6, head_dim=64, heads=(3, 7, 12), classes=100)
    file = WeightFile(make_weights(arch))
    engine = NativeEngine(file, 2)
    x = pictures(arch, 1)
    for k in arch.heads:
        np.testing.assert_allclose(engine.logits(x, k), oracle(file, x, k)[0], atol=2e-4)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_picture_s_answer_depends_on_nothing_else(make_weights: Make, precision: str) -> None:
    """Neither on the other pictures of a batch, nor on the threads, nor on the calls before."""
    file = WeightFile(make_weights(SMALL, precision))
    one, two = NativeEngine(file, 1), NativeEngine(file, 2)
    x = pictures(SMALL, 2 * MAX_BATCH + 3)
    for k in (12, 3, 7):
        together = one.logits(x, k)
        np.testing.assert_array_equal(two.logits(x, k), together)
        for i in (0, MAX_BATCH, len(x) - 1):
            np.testing.assert_array_equal(two.logits(x[i : i + 1], k)[0], together[i])


@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_threads_that_take_heads_give_the_same(make_weights: Make, precision: str, head_dim: int) -> None:
    """As they do where a network is wide, in bfloat16 with AMX; four take them of 12 heads, not of 11."""
    heads = tuple(k * 64 // head_dim for k in (10, 11, 12))
    arch = Architecture(image_size=48, patch=16, depth=3, head_dim=head_dim, heads=heads, classes=10)
    file = WeightFile(make_weights(arch, precision))
    x = pictures(arch, 3)
    engines = [NativeEngine(file, threads) for threads in (1, 2, 4)]
    for k in heads:
        alone, *others = (engine.logits(x, k) for engine in engines)
        for answer in others:
            np.testing.assert_array_equal(answer, alone)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_not_finite_stays_in_its_picture(make_weights: Make, precision: str) -> None:
    file = WeightFile(make_weights(SMALL, precision))
    engine = NativeEngine(file, 2)
    x = pictures(SMALL, 3)
    clean = engine.logits(x, 5)
    bad = x.copy()
    bad[1] = np.nan
    answer = engine.logits(bad, 5)
    assert np.isnan(answer[1]).all()
    np.testing.assert_array_equal(answer[[0, 2]], clean[[0, 2]])
    np.testing.assert_array_equal(engine.logits(x, 5), clean)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_weight_that_is_nan_never_gives_a_finite_logit(make_weights: Make, precision: str) -> None:
    """Each tensor in turn has one NaN, which nobody checked: in the answers, it is still there."""
    x = pictures(SMALL, 2)
    file = WeightFile(make_weights(SMALL, precision))
    whole = file.data
    file.check(3)  # so that the engine takes the numbers as they are
    for name in parameters_of(SMALL):
        tensor = file.layout.tensors[tensor_name(3, name)]
        if tensor.dtype == "I8":  # has no NaN, but its scales have
            tensor = file.layout.tensors[tensor_name(3, f"{name.removesuffix('.weight')}.scale")]
        nan = np.uint16(0x7FC0) if tensor.dtype == "BF16" else np.float32(np.nan)
        file.data = whole.copy()
        file.data[tensor.begin : tensor.begin + nan.nbytes] = np.frombuffer(nan.tobytes(), np.uint8)
        assert not np.isfinite(NativeEngine(file, 1).logits(x, 3)).all(axis=1).any(), name


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_eight_threads_call_one_model(make_weights: Make, precision: str) -> None:
    model = hydrart.load(make_weights(SMALL, precision), threads=2)
    x = pictures(SMALL, 4)
    wanted = {k: model.logits(x, k) for k in model.heads}
    wrong: list[Any] = []

    def call(offset: int) -> None:
        for i in range(40):
            k, batch = model.heads[(i + offset) % len(model.heads)], 1 + (i + offset) % 4
            if not np.array_equal(model.logits(x[:batch], k), wanted[k][:batch]):
                wrong.append((k, batch))

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_threads_end_with_their_model(make_weights: Make) -> None:
    def workers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("hydrart-")]

    gc.collect()
    before = workers()
    engine = NativeEngine(WeightFile(make_weights()), 3)
    engine.logits(pictures(SMALL, 1), 3)
    own = [thread for thread in workers() if thread not in before]
    assert len(own) == 2
    del engine
    gc.collect()
    for thread in own:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_model_works_after_a_fork(make_weights: Make) -> None:
    engine = NativeEngine(WeightFile(make_weights()), 2)
    x = pictures(SMALL, 1)
    wanted = engine.logits(x, 4)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if np.array_equal(engine.logits(x, 4), wanted) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_a_waiting_model_takes_no_cpu(make_weights: Make) -> None:
    engine = NativeEngine(WeightFile(make_weights()), 2)
    engine.logits(pictures(SMALL, 1), 12)
    gc.collect()
    event = threading.Event()
    event.wait(0.05)  # workers look a moment before they sleep
    start = os.times()
    event.wait(0.5)
    end = os.times()
    assert (end.user + end.system) - (start.user + start.system) < 0.25


def test_a_small_k_touches_its_prefix_only(tmp_path: Path) -> None:
    """Bytes beyond the prefix of k may be anything: here they are not even there."""
    path = make_file(tmp_path / "whole.safetensors")
    whole = WeightFile(path)
    engine = NativeEngine(whole, 1)
    x = pictures(SMALL, 1)
    wanted = engine.logits(x, 4)
    damaged = WeightFile(path)
    data = damaged.data.copy()
    data[damaged.end(4) :] = 0xFF
    damaged.data = data
    np.testing.assert_array_equal(NativeEngine(damaged, 1).logits(x, 4), wanted)


def test_a_scale_that_is_not_positive_is_told(tmp_path: Path) -> None:
    path = make_file(tmp_path / "int8.safetensors", precision="int8")
    file = WeightFile(path)
    tensor = file.layout.tensors["shell03.blocks.1.mlp.fc1.scale"]
    data = bytearray(path.read_bytes())
    data[file.start + tensor.begin : file.start + tensor.begin + 4] = np.float32(-1).tobytes()
    path.write_bytes(data)
    with pytest.raises(WeightFileError, match=r"fc1\.scale holds a scale that is not positive"):
        hydrart.load(path).logits(pictures(SMALL, 1), 3)


def test_activations_for_which_there_is_no_memory(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    file = WeightFile(weights)
    monkeypatch.setattr("mmap.mmap", refuse)
    with pytest.raises(MemoryError, match=r"the activations take [0-9.]+ GB"):
        NativeEngine(file, 1)
