"""CPU use at a frame rate."""

from hydrart.bench import idle


def test_waiting_costs_nothing() -> None:
    frames: list[int] = []
    found = idle.measure(lambda: frames.append(0), 5, 100, 0.3)
    assert found.k == 5 and len(frames) >= 2 and found.reached_fps <= 101
    assert found.waiting_percent is not None and found.waiting_percent < 50


def test_who_cannot_keep_up_never_waits() -> None:
    found = idle.measure(lambda: sum(range(100_000)), 5, 1e6, 0.05)
    assert found.waiting_percent is None and found.reached_fps < 1e6 and found.cpu_percent > 0
