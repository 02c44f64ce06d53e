"""What an application refuses before anything is sent."""

from __future__ import annotations

from fractions import Fraction

import pytest

from concurro import ApplicationNode, ConfigError
from tests.support.jobs import Mixture


@pytest.fixture
def application(tmp_path):
    """Give an application that has not connected, and must not."""
    node = ApplicationNode(f"ipc://{tmp_path}/nobody", config={"application": {"connect_timeout": 0.1}})
    yield node
    node.close()


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), "much", None])
def test_a_weight_that_is_no_share_is_refused(application, weight):
    with pytest.raises(ConfigError, match="weight must be a number above 0") as raised:
        application.submit(Mixture(), weight=weight)

    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize("ttl", [-1, float("nan"), "a day"])
def test_a_time_to_live_that_is_none_is_refused(application, ttl):
    with pytest.raises(ConfigError, match="ttl must be 0 seconds or more"):
        application.submit(Mixture(), ttl=ttl)


@pytest.mark.parametrize("number", [1, Fraction(1, 2), 2.5])
def test_numbers_of_any_kind_are_taken(application, number):
    with pytest.raises(ConnectionError, match="no master"):
        application.submit(Mixture(), weight=number, ttl=number)
