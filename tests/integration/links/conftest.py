"""A loop that is turned by hand."""

from __future__ import annotations

import pytest

from tests.integration.links.turning import Turner


@pytest.fixture
def turner():
    """Give a loop; release it afterwards."""
    turner = Turner()
    yield turner
    turner.loop.close()
