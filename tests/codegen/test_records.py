"""codegen/records.py: records of 64-bit integers, which emitted code reads by their offsets."""

import numpy as np
import pytest

from hydrart.codegen.records import AHEAD, MICROTILE, WEIGHTS, offset_of


@pytest.mark.parametrize("record", [MICROTILE, WEIGHTS, AHEAD])
def test_fields_are_64_bit_integers_without_gaps(record: np.dtype[np.void]) -> None:
    names = record.names or ()
    assert [record[name] for name in names] == [np.dtype(np.int64)] * len(names)
    assert record.itemsize == 8 * len(names)


@pytest.mark.parametrize("record", [MICROTILE, WEIGHTS, AHEAD])
def test_an_offset_is_where_numpy_writes_the_field(record: np.dtype[np.void]) -> None:
    for name in record.names or ():
        written = np.zeros(1, record)
        written[name] = -1
        assert np.flatnonzero(written.view(np.uint8))[0] == offset_of(record, name)
    with pytest.raises(KeyError):
        offset_of(record, "nothing")
