"""Live pages that the tests of a module share."""

from collections.abc import Iterator

import pytest

import hydrart
from tests.support.dashboards import TOKEN, Page, page


@pytest.fixture(scope="module")
def local(model: hydrart.Model) -> Iterator[Page]:
    """On loopback, without a token."""
    with page(model) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(model: hydrart.Model) -> Iterator[Page]:
    """As on a network: with a token."""
    with page(model, TOKEN) as running:
        yield running
