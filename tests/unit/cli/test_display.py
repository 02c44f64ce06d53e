"""Progress for people."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from concurro.ids import ProgressRecord
from concurro.nodes import display
from concurro.nodes.display import duration_text, live_progress, progress_line, rate_text, time_left
from tests.support.waiting import wait_until


class Screen(io.StringIO):
    """A terminal that keeps what was drawn."""

    def isatty(self) -> bool:
        return True


class StillRunning:
    progress = ProgressRecord(3, 6, "searching", {"done": 3, "leased": 2, "queued": 1})


class Counting:
    """Counts how often it is asked for its progress."""

    asked = 0

    @property
    def progress(self):
        self.asked += 1
        return StillRunning.progress


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


def test_a_line_says_how_fast_it_goes_and_how_long_that_takes():
    line = progress_line(StillRunning.progress, 1.25, with_bar=False, rate=2.0, left=75.0)

    assert line == "3/6 (50%)  tasks: 3 done, 2 at work, 1 queued  2 tasks/s  1.2 s  1:15 min left  searching"


def test_the_time_left_is_what_is_left_at_the_rate_of_now():
    assert time_left(ProgressRecord(3, 6), 0.5) == 6.0


@pytest.mark.parametrize(
    ("progress", "rate"),
    [(ProgressRecord(3), 1.0), (ProgressRecord(6, 6), 1.0), (ProgressRecord(9, 6), 1.0), (ProgressRecord(3, 6), None)],
    ids=["no total", "all done", "more than all", "no rate"],
)
def test_there_is_no_time_left_where_nobody_knows_it(progress, rate):
    assert time_left(progress, rate) is None


@pytest.mark.parametrize(
    ("rate", "text"),
    [(12345.6, "12346 tasks/s"), (12.34, "12.3 tasks/s"), (0.5, "30 tasks/min"), (0.01, "36 tasks/h")],
)
def test_a_rate_is_in_units_that_people_count_in(rate, text):
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (185, "3:05 min"), (7800, "2:10 h"), (273600, "3 d 4 h")]
)
def test_a_duration_is_in_units_that_people_count_in(seconds, text):
    assert duration_text(seconds) == text


def test_a_message_cannot_move_the_cursor():
    line = progress_line(ProgressRecord(message="half\x1b[2Jway\r\nthere"), 1, with_bar=True)

    assert line.endswith("half?[2Jway there")


def test_more_than_all_is_all():
    assert progress_line(ProgressRecord(9, 6), 1, with_bar=True).startswith("[########################]  9/6 (100%)")


def test_a_terminal_gets_one_line_that_is_erased_at_the_end(quick):
    screen = Screen()

    with live_progress(StillRunning(), screen):
        wait_until(lambda: "50%" in screen.getvalue(), what="the bar")

    assert "\n" not in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[2K")


def test_a_bar_with_a_wide_script_stays_on_one_row(quick, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    handle = StillRunning()
    handle.progress = ProgressRecord(3, 6, "\u63a2\u7d22" * 50, {"done": 3})
    screen = Screen()

    with live_progress(handle, screen):
        wait_until(lambda: "\u63a2" in screen.getvalue(), what="the bar")

    cells = [sum(2 if sign in "\u63a2\u7d22" else 1 for sign in row) for row in rows(screen.getvalue())]
    assert 98 <= max(cells) < 100


def test_anything_else_gets_plain_lines(quick):
    stream = io.StringIO()

    with live_progress(StillRunning(), stream):
        wait_until(lambda: stream.getvalue().count("\n") > 1, what="two lines")

    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().startswith("3/6 (50%)  tasks: 3 done")


def rows(text):
    """Return what a terminal shows of a text, row by row, each erased row as it was before."""
    return [row for line in text.split("\n") for row in line.split("\r\x1b[2K")]


def test_what_others_print_and_log_stands_on_lines_of_its_own_above_the_bar(quick, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    handler = logging.StreamHandler(screen)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])

    with live_progress(StillRunning(), screen):
        wait_until(lambda: "50%" in screen.getvalue(), what="the bar")
        print("from a", "task")
        logging.getLogger("concurro.test").warning("a warning")

    shown = rows(screen.getvalue())
    assert "from a task" in shown
    assert "a warning" in shown
    assert shown[-1] == ""
    assert (sys.stdout, sys.stderr, handler.stream) == (screen, screen, screen)


def test_a_line_that_is_not_finished_is_not_erased(quick, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    handle = Counting()

    with live_progress(handle, screen):
        wait_until(lambda: "50%" in screen.getvalue(), what="the bar")
        print("one, ", end="")
        asked = handle.asked
        wait_until(lambda: handle.asked > asked + 2, what="moments in which the bar would be drawn again")
        print("two")
        wait_until(lambda: screen.getvalue().endswith("searching"), what="the bar again")

    assert "one, two" in rows(screen.getvalue())


def test_a_screen_is_clean_after_an_interruption(quick, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)

    def interrupted():
        with live_progress(StillRunning(), screen):
            wait_until(lambda: "50%" in screen.getvalue(), what="the bar")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert screen.getvalue().endswith("\r\x1b[2K")
    assert sys.stdout is screen


def test_plain_lines_end_with_how_it_ended(quick):
    stream = io.StringIO()
    handle = StillRunning()

    with live_progress(handle, stream):
        wait_until(lambda: "50%" in stream.getvalue(), what="a line")
        handle.progress = ProgressRecord(6, 6, "", {"done": 6})

    assert stream.getvalue().splitlines()[-1].startswith("6/6 (100%)  tasks: 6 done")


def test_a_stream_that_is_no_terminal_is_left_alone(quick, monkeypatch):
    screen, file = Screen(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)

    with live_progress(StillRunning(), screen):
        wait_until(lambda: "50%" in screen.getvalue(), what="the bar")
        untouched = sys.stdout is file
        print("a result")

    assert untouched
    assert file.getvalue() == "a result\n"


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
