"""Tables of slaves and systems."""

from __future__ import annotations

import pytest

from concurro.cli.rows import SLAVE_HEAD, SYSTEM_HEAD, Cell, duration, slave_row, system_row, table

SLAVE = {"id": "north-1", "host": "north", "workers": 4, "lent": 0, "running": 3, "queued": 2, "finished": 90}
SLAVE |= {"resources": {"gpu": 1.0}, "sick": "", "draining": False, "stopped": [], "connected": 125.0, "key": ""}
AROUND = {"load": [1.5, 1, 1], "memory": {"total": 8 << 30, "available": 6 << 30}, "versions": {"python": "3.11.2"}}
SYSTEM = {"system_id": "3f9c", "name": "Sum", "state": "running", "open": 10, "leased": 4, "done": 6, "failed": 1}
SYSTEM |= {"elapsed": 3.0, "age": 61.0, "owner": {"key": "ada", "host": "desk", "pid": 7}}


def texts(row):
    return [cell.text for cell in row]


def test_a_slave_shows_how_busy_it_is_and_where_it_runs():
    row = dict(zip(SLAVE_HEAD, texts(slave_row(SLAVE, AROUND)), strict=True))

    assert (row["BUSY"], row["QUEUED"], row["OFFERS"], row["STATE"]) == ("3/4", "2", "gpu=1", "ok")
    assert (row["LOAD"], row["MEMORY"], row["PYTHON"]) == ("1.50", "2 GiB of 8 GiB", "3.11.2")
    assert row["SINCE"] == "2 min 5 s"


def test_a_slave_that_did_not_tell_where_it_runs_is_listed_all_the_same():
    row = dict(zip(SLAVE_HEAD, texts(slave_row(SLAVE, None)), strict=True))

    assert (row["SLAVE"], row["LOAD"], row["MEMORY"], row["PYTHON"]) == ("north-1", "-", "-", "-")


@pytest.mark.parametrize(
    ("changes", "colour"),
    [({}, "green"), ({"sick": "no disk"}, "red"), ({"draining": True}, "yellow"), ({"stopped": [7]}, "yellow")],
)
def test_the_state_of_a_slave_has_a_colour(changes, colour):
    assert slave_row({**SLAVE, **changes}, None)[-1].colour == colour


def test_a_system_shows_its_tasks_by_state_and_who_submitted_it():
    row = dict(zip(SYSTEM_HEAD, texts(system_row(SYSTEM)), strict=True))

    assert (row["DONE"], row["RUNNING"], row["WAITING"], row["FAILED"]) == ("6", "4", "6", "1")
    assert (row["OWNER"], row["AGE"]) == ("ada@desk", "1 min 1 s")


@pytest.mark.parametrize(
    ("owner", "shown"), [(None, "-"), ({"key": "", "host": "desk", "pid": 7}, "desk:7"), (SYSTEM["owner"], "ada@desk")]
)
def test_an_owner_is_a_key_or_a_process(owner, shown):
    assert system_row({**SYSTEM, "owner": owner})[SYSTEM_HEAD.index("OWNER")].text == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min 59 s"), (7500, "2 h 5 min"), (90_000, "1 d 1 h")],
)
def test_a_duration_has_two_units_at_most(seconds, shown):
    assert duration(seconds) == shown


def test_columns_are_as_wide_as_their_widest_cell():
    lines = table(("A", "LONG"), [[Cell("wide cell"), Cell("x")]])

    assert lines == ["A          LONG", "wide cell  x"]


def test_a_line_is_cut_where_the_terminal_ends():
    lines = table(("A", "LONG"), [[Cell("wide cell"), Cell("much too long")]], width=14)

    assert [len(line) <= 14 for line in lines] == [True, True]
    assert lines[1].startswith("wide cell  muc")


def test_a_name_that_holds_control_characters_keeps_its_line():
    lines = table(("A", "LONG"), [[Cell("bad\x1b[2J\nname"), Cell("x")]])

    assert lines[1] == "bad\\x1b[2J\\nname  x"
