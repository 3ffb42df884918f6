"""hydrart against other runtimes: who is compared, and how answers are judged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hydrart
from hydrart.bench.contest import agreement, contest
from hydrart.bench.peers import PEERS, make_peer
from hydrart.errors import SettingError
from hydrart.format.precision import PRECISIONS
from hydrart.format.reader import WeightFile
from tests.support.benching import needs
from tests.support.commands import TINY, Make

FloatArray = NDArray[np.float32]


def contested(path: Path, peers: list[Any], k: int = 3) -> tuple[list[Any], list[str]]:
    model = hydrart.load(path, threads=1)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    told: list[str] = []
    times, speedup, results = contest(model, k, peers, x, 0, 1, lambda text: None, told.append)
    assert times.min_ms > 0 and speedup is None
    return results, told


def test_one_thread_takes_its_turns(make_weights: Make) -> None:
    path = make_weights(TINY)
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32)
    times, speedup, peers = contest(hydrart.load(path, threads=2), 3, [], x, 0, 1, lambda text: None, lambda text: None)
    assert times.min_ms > 0 and speedup and not peers


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("ours", PRECISIONS)
def test_peers_agree_and_are_timed(name: str, ours: str, make_weights: Make) -> None:
    needs(name)
    path = make_weights(TINY, ours)
    (result,), told = contested(path, [make_peer(name, WeightFile(path))])
    assert result.agrees and not told and result.executed == "fp32" and result.version
    assert result.ratio and result.times and result.prepare_ms > 0 and result.error < (1e-3 if ours == "fp32" else 0.2)


class Stranger:
    """A peer whose answer is made up."""

    name, version, precision, executed, threads, plain = "stranger", "1", "fp32", "fp32", 1, False

    def __init__(self, answer: Callable[[FloatArray], FloatArray]) -> None:
        self._answer = answer

    def prepare(self, k: int) -> Callable[[FloatArray], FloatArray]:
        return self._answer


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: x[:, 0, 0, :1].repeat(10, 1), "relative error"),
        (lambda x: np.zeros((1, 10), np.float32), "relative error 1.0e+00)"),
        (lambda x: np.full((1, 10), np.nan, np.float32), "not finite"),
        (lambda x: np.zeros((1, 9), np.float32), "other shapes"),
    ],
)
def test_who_answers_otherwise_is_not_compared(answer: Any, words: str, make_weights: Make) -> None:
    (result,), (told,) = contested(make_weights(TINY), [Stranger(answer)])
    assert not result.agrees and result.ratio is None and result.times is None
    assert "stranger:fp32 and hydrart give different answers" in told and words in told
    json.dumps(vars(result), allow_nan=False)


def test_who_fails_is_left_out(make_weights: Make) -> None:
    class Failing(Stranger):
        def prepare(self, k: int) -> Callable[[FloatArray], FloatArray]:
            raise SettingError("it is too large: use less")

    results, told = contested(make_weights(TINY), [Failing(lambda x: x)])
    assert not results and told == ["k=3: stranger:fp32 is left out: it is too large: use less"]


def test_rounding_is_forgiven_where_not_both_are_exact() -> None:
    ours = np.random.default_rng(0).standard_normal((4, 10)).astype(np.float32)
    near = ours + 0.1 * np.random.default_rng(1).standard_normal((4, 10)).astype(np.float32)
    assert agreement(ours, near, exact=False)[0] and not agreement(ours, near, exact=True)[0]
    assert not agreement(ours, -ours, exact=False)[0]
    assert agreement(ours[:, :1] * 0, ours[:, :1] * 0, exact=False) == (True, 0.0, None), "one class that is always 0"
