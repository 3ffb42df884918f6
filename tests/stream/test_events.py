"""stream/events.py: an event as it stands in a log."""

from hydrart.stream.events import Event


def test_its_entry_has_times_to_a_microsecond() -> None:
    event = Event("stalled", "no frame for 1.0 s", 12.34567891, 1e9 + 0.12345678)
    assert event.as_dict() == {
        "state": "stalled",
        "reason": "no frame for 1.0 s",
        "t_mono": 12.345679,
        "t_wall": 1000000000.123457,
    }
