"""The oracle plans the k of every frame. It knows every frame's latency, the surroundings and the battery beforehand.

- Without heat or battery it plans each frame alone: the most accurate k that is in time.
- A battery puts one price on energy. Bisection finds it.
- Heat couples the frames. Dynamic programming over blocks of some seconds plans them. Its state is the temperatures of
  the slow stages, its choice is a cap on k.

The oracle answers each frame within a period, so that the device is free for the next. With a longer deadline a better
plan may exist.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hydrart.governor.points import Stage
from hydrart.lab.simulate import World
from hydrart.lab.trace import Floats

_BLOCK_S = 5.0
_SLOW_STAGE_S = 1.5 * _BLOCK_S  # a stage with a shorter time constant has settled at the end of a block
_GRID = {1: 400, 2: 44}  # number of slow stages -> grid points of the temperature of each
_MIX = 4  # number of caps from one k to the next
_FINE_PER_C = 20.0  # the cost of a frame, per kelvin above the target; it outweighs any accuracy
_SAFE_C = 0.3  # kelvin between plan and target, because the blocks are coarser than the world
# The share of the capacity that no plan spends, because time and energy are counted in whole frames. It is no reserve
# against wrong gauges: the oracle knows the charge. The policies' reserve is in governor/parameters/battery.py.
_PLAN_SLACK = 0.002
_BISECTIONS = 40


def plan(world: World) -> list[int]:
    """The k of every frame; 0 drops the frame."""
    table = _Table.of(world)
    choice = table.choose(np.zeros(world.frames), np.full(world.frames, len(world.ks), float))
    price = np.zeros(world.frames)
    if world.start_wh is not None and world.goals.until_h is not None:
        counted = world.times < world.goals.until_h * 3600
        budget_j = world.start_wh * 3600 * (1 - _PLAN_SLACK)
        missing_s = world.goals.until_h * 3600 - world.frames * world.period_s
        if missing_s > 0:  # the run ends before the goal does: it may use only its share of the energy
            budget_j *= world.frames * world.period_s / (world.goals.until_h * 3600)
        drawn = world.load_w + world.idle_w
        budget_j -= float(drawn[counted].sum()) * world.period_s
        least_j = table.joules(table.choose(price, np.ones(world.frames)))[counted].sum()
        budget_j = max(budget_j, float(least_j))  # the smallest k answers even if the battery will not last
        if table.joules(choice)[counted].sum() > budget_j:
            choice, price = _within(table, counted, budget_j)
    if world.target_c is not None and _temperatures(world, table.joules(choice)).max() > world.target_c - _SAFE_C:
        choice = _heat(world, table, price)
    ks = np.array([*world.ks, 0])
    return [int(k) for k in ks[choice]]


def _within(table: "_Table", counted: NDArray[np.bool_], budget_j: float) -> tuple[NDArray[np.int64], Floats]:
    """The choices and the price per joule with which the counted frames spend exactly the budget."""
    cap = np.full(len(counted), float(table.accuracy.shape[1]))
    low, high = 1e-6, 1e3  # accuracy per joule
    for _ in range(_BISECTIONS):
        middle = float(np.sqrt(low * high))
        spent_j = table.joules(table.choose(np.where(counted, middle, 0.0), cap))[counted].sum()
        low, high = (middle, high) if spent_j > budget_j else (low, middle)
    rich, poor = (table.choose(np.where(counted, price, 0.0), cap) for price in (low, high))
    # at the price itself both choices are worth the same: mix them so that the budget is spent
    joules = table.joules(poor)[counted].sum()
    gap = table.joules(rich)[counted].sum() - joules
    share = min(max((budget_j - joules) / gap, 0.0), 1.0) if gap > 0 else 0.0
    differs = rich != poor
    turns = np.floor(np.cumsum(differs) * share)
    takes = differs & (np.diff(turns, prepend=0.0) > 0)
    return np.where(takes, rich, poor), np.where(counted, high, 0.0)


@dataclass(frozen=True)
class _Table:
    """accuracy: float64 [frames, ks], 0 where k is late. joules: the energy of each beyond that of the idle device."""

    accuracy: Floats
    energy: Floats

    @classmethod
    def of(cls, world: World) -> "_Table":
        room_ms = np.minimum(world.deadline_ms, 1000 * world.period_s)
        # where no k leaves the next frame its whole period, the smallest k that is in time will do
        fits = world.latency_ms <= room_ms[:, None]
        fits[:, 0] |= world.latency_ms[:, 0] <= world.deadline_ms
        accuracy = np.where(fits, world.accuracy, 0.0)
        return cls(accuracy, (world.power_w - world.idle_w) * world.latency_ms / 1000)

    def choose(self, price: Floats, cap: Floats) -> NDArray[np.int64]:
        """The best column of each frame at a price per joule. The column after all ks drops the frame.

        cap: float64 [frames], the number of columns that a frame may choose from. The fraction of a cap is the share of
        frames that may choose from one column more.
        """
        n, columns = self.accuracy.shape
        extra = np.floor(np.cumsum(cap % 1)) > np.floor(np.cumsum(cap % 1) - cap % 1)
        value = self.accuracy - np.maximum(price, 1e-9)[:, None] * self.energy
        value[np.arange(columns) >= (np.floor(cap) + extra)[:, None]] = -np.inf
        best = value.argmax(axis=1)
        useless = self.accuracy[np.arange(n), best] <= 0
        return np.asarray(np.where(useless | (value[np.arange(n), best] <= 0), columns, best))

    def joules(self, choice: NDArray[np.int64]) -> Floats:
        """The energy of each frame beyond that of the idle device, float64 [frames], in joules."""
        return np.column_stack([self.energy, np.zeros(len(choice))])[np.arange(len(choice)), choice]

    def correct(self, choice: NDArray[np.int64]) -> Floats:
        """The expected accuracy of each frame, float64 [frames]."""
        return np.column_stack([self.accuracy, np.zeros(len(choice))])[np.arange(len(choice)), choice]


def _temperatures(world: World, joules: Floats) -> Floats:
    """The temperature after each frame that takes these joules, float64 [frames]; -inf without a thermal model."""
    thermal = world.device.thermal
    if thermal is None:
        return np.full(world.frames, -np.inf)
    watts = world.idle_w + world.load_w + joules / world.period_s
    total = world.ambient_c.copy()
    for stage in thermal.stages:
        total += _lagged(watts * stage.r_c_per_w, stage, world)
    return total


def _lagged(heat: Floats, stage: Stage, world: World) -> Floats:
    """The stage's kelvin above ambient at the end of every frame. The stage starts as warm as it does in the world."""
    share = -np.expm1(-world.period_s / stage.tau_s)
    x = stage.r_c_per_w * (world.idle_w + world.load_w[0])
    out = []
    for value in heat.tolist():
        x += (value - x) * share
        out.append(x)
    return np.array(out)


def _heat(world: World, table: _Table, price: Floats) -> NDArray[np.int64]:
    """Plan with dynamic programming. Returns the column of each frame."""
    thermal = world.device.thermal
    assert thermal is not None and world.target_c is not None
    size = max(1, round(_BLOCK_S / world.period_s))
    starts = np.arange(0, world.frames, size)
    seconds = np.diff([*starts, world.frames]) * world.period_s
    caps = np.arange(_MIX, len(world.ks) * _MIX + 1) / _MIX
    # the gain and the joules of each cap in each block: [blocks, caps]
    gained, spent = [], []
    for cap in caps:
        choice = table.choose(price, np.full(world.frames, cap))
        joules = table.joules(choice)
        gained.append(np.add.reduceat(table.correct(choice) - price * joules, starts))
        spent.append(np.add.reduceat(joules, starts))
    gain = np.array(gained).T
    watts = (
        np.array(spent).T / seconds[:, None]
        + world.idle_w
        + (np.add.reduceat(world.load_w, starts) * world.period_s / seconds)[:, None]
    )
    ambient = np.maximum.reduceat(world.ambient_c, starts)
    ambient = np.maximum(ambient, [*ambient[1:], ambient[-1]])  # the fast stages take a while to cool down
    fast, slow = _stages(thermal.stages)
    quick = sum(stage.r_c_per_w for stage in fast)
    grids = [np.linspace(0, stage.r_c_per_w * watts.max() * 1.02, _GRID[len(slow)]) for stage in slow]
    # where even the smallest k gets too warm, its temperature replaces the target
    least = _temperatures(world, table.joules(table.choose(price, np.ones(world.frames))))
    target = np.maximum(world.target_c - _SAFE_C, np.maximum.reduceat(least, starts) + _SAFE_C)

    def after(x: list[Floats], block: int) -> list[Floats]:
        """The slow stages' temperatures at the end of the block, for every cap: [..., caps]."""
        return [
            v[..., None] + (stage.r_c_per_w * watts[block] - v[..., None]) * -np.expm1(-seconds[block] / stage.tau_s)
            for v, stage in zip(x, slow, strict=True)
        ]

    def worth(x: list[Floats], block: int, future: Floats) -> Floats:
        """The value of every cap: [..., caps]."""
        ended = after(x, block)
        peak = ambient[block] + quick * watts[block] + sum(ended)
        fine = _FINE_PER_C * seconds[block] / world.period_s * np.maximum(peak - target[block], 0.0)
        return np.asarray(gain[block] - fine + _interpolated(future, grids, ended))

    mesh = [np.asarray(m, float) for m in np.meshgrid(*grids, indexing="ij")] if slow else []
    values = [np.zeros([_GRID[len(slow)]] * len(slow))]
    for block in reversed(range(1, len(starts))):
        values.append(worth(mesh, block, values[-1]).max(axis=-1) if slow else values[-1])
    values.reverse()
    state = [np.array(stage.r_c_per_w * (world.idle_w + world.load_w[0])) for stage in slow]
    picked = np.zeros(world.frames)
    for block, start in enumerate(starts):
        best = int(worth(state, block, values[block]).argmax())
        picked[start : start + size] = caps[best]
        state = [v[..., best] for v in after(state, block)]
    return table.choose(price, picked)


def _stages(stages: tuple[Stage, ...]) -> tuple[list[Stage], list[Stage]]:
    """The stages that settle within a block, and the slow ones. Slow neighbours are merged until two are left."""
    fast = [stage for stage in stages if stage.tau_s <= _SLOW_STAGE_S]
    slow = [stage for stage in stages if stage.tau_s > _SLOW_STAGE_S]
    while len(slow) > 2:
        ratios = [b.tau_s / a.tau_s for a, b in pairwise(slow)]
        i = int(np.argmin(ratios))
        a, b = slow[i], slow[i + 1]
        r = a.r_c_per_w + b.r_c_per_w
        slow[i : i + 2] = [Stage(r, (a.r_c_per_w * a.tau_s + b.r_c_per_w * b.tau_s) / r)]
    return fast, slow


def _interpolated(table: Floats, grids: list[Floats], x: list[Floats]) -> Floats:
    """The table's value between its grid points, interpolated linearly along every axis."""
    if not grids:
        return np.asarray(table)
    corners = []
    for grid, value in zip(grids, x, strict=True):
        place = np.clip(value / grid[1], 0, len(grid) - 1.001)
        low = place.astype(int)
        corners.append((low, place - low))
    if len(grids) == 1:
        ((i, f),) = corners
        return np.asarray(table[i] * (1 - f) + table[i + 1] * f)
    (i, f), (j, g) = corners
    upper = table[i, j] * (1 - g) + table[i, j + 1] * g
    lower = table[i + 1, j] * (1 - g) + table[i + 1, j + 1] * g
    return np.asarray(upper * (1 - f) + lower * f)
