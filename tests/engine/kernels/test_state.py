"""engine/kernels/state.py: records that Python fills and kernels read."""

import numpy as np
import pytest

from hydrart.engine import weights
from hydrart.engine.kernels import state
from hydrart.engine.kernels.intrinsics import record_at
from tests.support.jitted import jitted
from tests.support.products import address

RECORDS = {name: value for name, value in vars(state).items() if name.isupper() and isinstance(value, np.dtype)}
_network_at, _work_at = record_at(state.NETWORK), record_at(state.WORK)


@jitted
def read(network: int, work: int) -> tuple[int, int, int]:
    """A field of each record, and one of the record inside."""
    return _network_at(network).classifier, _work_at(work).end_head, _work_at(work).product.output


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_fields_are_integers_or_records_on_their_boundaries(record: np.dtype[np.void]) -> None:
    assert record.fields
    found = {name: (kind, at) for name, (kind, at, *_) in record.fields.items()}
    for name, (kind, at) in found.items():
        assert at % kind.alignment == 0, name
        assert kind in (np.dtype(np.int64), *RECORDS.values()) or (name == "eps" and kind == np.float64)
    assert sum(kind.itemsize for kind, _ in found.values()) == record.itemsize, "no gaps"


def test_kernels_read_what_python_writes() -> None:
    network, work = np.zeros(1, state.NETWORK), np.zeros(1, state.WORK)
    network["classifier"], work["end_head"], work["product"]["output"] = 5, 6, 1 << 40
    assert read(address(network), address(work)) == (5, 6, 1 << 40)


@pytest.mark.parametrize("name", ["PATCH", "QKV", "PROJ", "FC1", "FC2", "PER_BLOCK"])
def test_another_order_than_that_of_the_roles_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.check_order()
    monkeypatch.setattr(state, name, getattr(state, name) + 1)
    with pytest.raises(AssertionError, match="another order"):
        weights.check_order()
