"""Options as descriptors, and as texts for people."""

from __future__ import annotations

import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurro.config import (
    CORE_TABLES,
    Config,
    DurationOption,
    FloatOption,
    IntOption,
    SizeOption,
    StrOption,
    default_file,
    list_options,
)
from concurro.config.quantities import parse_duration, parse_size
from concurro.errors import ConfigError


class Tidal:
    name = "tidal"
    depth = FloatOption(1.5, "Depth [m].", minimum=0.0)
    mode = StrOption("fast", "How.", choices=("fast", "exact"))
    limit = SizeOption("1 kB", "Size [B].")
    pause = DurationOption("500 ms", "Pause [s].")
    count = IntOption(2, "How many.", maximum=3)

    def __init__(self, settings=None):
        self.config = Config.load({"tidal": settings or {}}, environ={})


def test_an_option_has_its_default_when_nothing_is_set():
    tidal = Tidal()

    assert (tidal.depth, tidal.mode, tidal.limit, tidal.pause, tidal.count) == (1.5, "fast", 1000, 0.5, 2)


def test_an_option_reads_the_table_named_as_its_owner():
    assert Tidal({"depth": 3}).depth == 3.0


def test_an_option_may_be_assigned_in_a_test():
    tidal = Tidal()

    tidal.depth = 9.0

    assert tidal.depth == 9.0
    assert Tidal().depth == 1.5


def test_the_class_gives_the_option_itself_for_documentation():
    assert Tidal.depth.documentation == "Depth [m]."


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"depth": -0.1}, "must be 0 or more"),
        ({"mode": "slow"}, "is not one of fast, exact"),
        ({"count": 4}, "must be 3 or less"),
        ({"pause": -1}, "must be 0 or more"),
    ],
)
def test_a_value_outside_of_its_constraints_is_refused(settings, reason):
    tidal = Tidal(settings)

    with pytest.raises(ConfigError, match=reason):
        getattr(tidal, next(iter(settings)))


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5", 1.5), ("500 ms", 0.5), ("2 min", 120.0), ("1h", 3600.0), ("1 d", 86400.0)]
)
def test_durations_are_read_in_their_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("2 GiB", 2**31), ("1.5 kB", 1500), ("3mib", 3 * 2**20), ("1 B", 1)]
)
def test_sizes_are_read_in_their_units(text, size):
    assert parse_size(text) == size


@given(st.text(max_size=12))
def test_any_text_is_a_quantity_or_a_value_error(text):
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert "is not a" in str(error)  # noqa: PT017 - most texts are no quantity


def test_the_default_file_sets_nothing_and_shows_every_default():
    text = default_file()
    uncommented = re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE)

    assert all(not entries for entries in tomllib.loads(text).values())
    shown = tomllib.loads(uncommented)
    for table, options in CORE_TABLES.items():
        for key, option in options.items():
            assert shown[table][key] == option.default


def test_every_option_of_the_core_is_documented_and_has_a_usable_default():
    for row in list_options(Config.empty()):
        assert row.documentation.endswith((".", "]."))
        assert row.origin == "default"
