"""train/recipe.py: which ks a step trains, and how the learning rate goes."""

import subprocess
import sys

import numpy as np
import pytest

from tests.support.training import recipe


def test_a_sandwich_holds_both_ends_and_draws_between_by_weight() -> None:
    wanted = recipe(heads=(3, 4, 5, 6, 12), weights=(1, 1, 3, 0, 9), networks=3)
    rng = np.random.default_rng(0)
    drawn = [wanted.draw(rng) for _ in range(400)]
    assert {(ks[0], ks[-1]) for ks in drawn} == {(12, 3)}
    between = [ks[1] for ks in drawn]
    assert set(between) == {4, 5} and 0.68 < between.count(5) / 400 < 0.82
    assert recipe(networks=2).draw(rng) == (12, 3)
    full = recipe(heads=(3, 4, 5, 6, 12), weights=(), networks=5)
    assert {full.draw(rng) for _ in range(20)} == {(12, 6, 5, 4, 3)}


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [recipe(lr=1.0, warmup=0.1).learning_rate(i / 100) for i in range(101)]
    assert np.argmax(rates) == 10 and rates[10] == pytest.approx(1)
    assert rates[55] == pytest.approx(0.5, abs=0.01) and rates[100] == pytest.approx(0, abs=1e-9)


def test_the_commands_options_load_without_pytorch() -> None:
    code = "import sys, hydrart.cli.train, hydrart.cli.train_teacher; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
