"""Progress on a bar that somebody brings along."""

from __future__ import annotations

import io

import pytest

from concurro.ids import ProgressRecord
from concurro.nodes.foreign_bar import is_progress_bar
from concurro.nodes.waiting import wait_with_progress


class Bar:
    """Notes what it is told."""

    def __init__(self, total=None):
        self.total = total
        self.done = 0
        self.closed = 0
        self.told = []

    def __bool__(self):
        raise TypeError  # as that of tqdm without a total

    def update(self, n=1):
        self.done += n
        self.told.append(n)

    def close(self):
        self.closed += 1


class BrokenBar(Bar):
    def update(self, n=1):
        super().update(n)
        raise RuntimeError


class Job:
    """A handle that tells its news when somebody waits for it."""

    system_id = "job"

    def __init__(self, *news, fault=None):
        self.progress = ProgressRecord()
        self._news = news
        self._fault = fault
        self._watchers = []

    def watch(self, watcher):
        self._watchers.append(watcher)

    def result(self, timeout=None):
        for news in self._news:
            self.progress = news
            for watcher in self._watchers:
                watcher(news)
        if self._fault is not None:
            raise self._fault
        return "the result"


def test_a_bar_is_told_how_many_more_are_done_and_closed_at_the_end():
    bar = Bar()

    result = wait_with_progress(Job(ProgressRecord(3), ProgressRecord(3), ProgressRecord(10)), None, bar)

    assert result == "the result"
    assert bar.told == [3, 7]
    assert (bar.total, bar.closed) == (None, 1)


def test_a_bar_is_told_the_total_once_the_system_knows_it():
    bar = Bar()

    wait_with_progress(Job(ProgressRecord(3), ProgressRecord(4, 10)), None, bar)

    assert bar.total == 10


def test_a_bar_keeps_the_total_that_it_came_with():
    bar = Bar(total=100)

    wait_with_progress(Job(ProgressRecord(3)), None, bar)

    assert bar.total == 100


def test_a_class_of_bars_makes_one():
    made = []

    class Made(Bar):
        def __init__(self):
            super().__init__()
            made.append(self)

    wait_with_progress(Job(ProgressRecord(3)), None, Made)

    assert [(bar.done, bar.closed) for bar in made] == [(3, 1)]


@pytest.mark.parametrize("fault", [ValueError("a job that failed"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
def test_a_bar_is_closed_whatever_ends_the_wait(fault):
    bar = Bar()

    with pytest.raises(type(fault)):
        wait_with_progress(Job(ProgressRecord(3), fault=fault), None, bar)

    assert (bar.done, bar.closed) == (3, 1)


def test_a_bar_that_fails_is_told_nothing_more_and_ends_no_job(caplog):
    bar = BrokenBar()

    result = wait_with_progress(Job(ProgressRecord(1), ProgressRecord(2)), None, bar)

    assert result == "the result"
    assert (bar.told, bar.closed) == ([1], 1)
    assert "'BrokenBar' failed" in caplog.text


def test_a_function_is_no_bar():
    told = []

    wait_with_progress(Job(ProgressRecord(3)), None, told.append)

    assert told == [ProgressRecord(3)]
    assert not is_progress_bar(told.append)


def test_a_bar_of_tqdm_is_one():
    tqdm = pytest.importorskip("tqdm")
    drawn = io.StringIO()

    wait_with_progress(Job(ProgressRecord(3, 10), ProgressRecord(10, 10)), None, tqdm.tqdm(file=drawn))

    assert "10/10" in drawn.getvalue()
