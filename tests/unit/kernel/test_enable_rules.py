"""`[components]`: which components are on."""

from __future__ import annotations

import pytest

from concurro.config import Config
from concurro.errors import ComponentNotFoundError, ConfigError
from concurro.interfaces import ITaskScheduleStrategy
from concurro.kernel import OfferState
from concurro.kernel.rules import deciding_rule, read_rules


def decide(rules, factory):
    rule = deciding_rule(read_rules(Config.load({"components": rules}, environ={})), factory)
    return None if rule is None else rule.enabled


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, None),
        ({"other.*": False}, None),
        ({"*": False, "tides.*": True}, True),
        ({"tides.*": True, "*": False}, True),
        ({"tides.*": True, "tides.moon.*": False}, False),
        ({"tides.moon.Full": True, "tides.moon.F*": False}, True),
        ({"tides.moon.Full": True, "tides.moon.Full*": False}, True),
        ({"*Full": False, "tide*": True}, True),
        ({"tid*": False, "*ull": True}, True),
    ],
)
def test_the_most_specific_glob_wins(rules, expected):
    assert decide(rules, "tides.moon.Full") is expected


def test_a_component_that_is_switched_off_says_by_which_rule(make_environment):
    environment = make_environment(components={"concurro.scheduling.*": False})

    with pytest.raises(ComponentNotFoundError) as caught:
        environment.get(ITaskScheduleStrategy, "least-loaded")

    assert 'is disabled: switched off by [components] "concurro.scheduling.*" = false' in str(caught.value)
    states = {offer.name: offer.state for offer in environment.offers(ITaskScheduleStrategy)}
    assert states["least-loaded"] is OfferState.DISABLED


def test_a_rule_that_matches_nothing_warns_with_the_closest_name(make_environment, caplog):
    environment = make_environment(components={"concurro.scheduling.strategies.LeastLoad": False})

    (warning,) = environment.warnings

    assert "matches no component; did you mean 'concurro.scheduling.strategies.LeastLoaded'" in warning
    assert warning in caplog.messages


def test_a_rule_is_true_or_false(make_environment):
    with pytest.raises(ConfigError, match="is not true or false"):
        make_environment(components={"a.*": "on"})


def test_a_rule_may_switch_a_file_off_without_harm(make_environment, write_plugin):
    path = write_plugin("broken.py", "1 / 0\n")

    assert make_environment(plugins=[path]).broken
    assert make_environment(plugins=[path], components={"broken": False}).broken == ()
