"""Progress for people."""

from __future__ import annotations

import io

import pytest

from concurro.ids import ProgressRecord
from concurro.nodes import display
from concurro.nodes.display import live_progress, progress_line
from tests.support.waiting import wait_until


class Screen(io.StringIO):
    """A terminal that keeps what was drawn."""

    def isatty(self) -> bool:
        return True


class StillRunning:
    progress = ProgressRecord(3, 6, "searching", {"done": 3, "leased": 2, "queued": 1})


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(display, "BAR_PERIOD", 0.001)
    monkeypatch.setattr(display, "LINE_PERIOD", 0.001)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")


def test_a_line_with_a_total_has_a_bar():
    line = progress_line(StillRunning.progress, 1.25, with_bar=True)

    assert line == "[############............]  3/6 (50%)  tasks: 3 done, 2 at work, 1 queued  1.2 s  searching"


def test_a_line_without_a_total_counts_tasks():
    line = progress_line(ProgressRecord(counts={"done": 7, "failed": 1}), 10, with_bar=True)

    assert line == "tasks: 7 done, 1 failed  10.0 s"


def test_more_than_all_is_all():
    assert progress_line(ProgressRecord(9, 6), 1, with_bar=True).startswith("[########################]  9/6 (100%)")


def test_a_terminal_gets_one_line_that_is_erased_at_the_end(quick):
    screen = Screen()

    with live_progress(StillRunning(), screen):
        wait_until(lambda: "50%" in screen.getvalue(), what="the bar")

    assert "\n" not in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_anything_else_gets_plain_lines(quick):
    stream = io.StringIO()

    with live_progress(StillRunning(), stream):
        wait_until(lambda: stream.getvalue().count("\n") > 1, what="two lines")

    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().startswith("3/6 (50%)  tasks: 3 done")


def test_a_short_job_shows_nothing():
    screen = Screen()

    with live_progress(StillRunning(), screen):
        pass

    assert screen.getvalue() == ""


def test_a_closed_stream_does_not_disturb(quick):
    stream = io.StringIO()
    stream.close()

    class Closed:
        isatty = staticmethod(lambda: False)
        write = stream.write
        flush = stream.flush

    with live_progress(StillRunning(), Closed()):
        pass
