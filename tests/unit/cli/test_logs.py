"""The lines of a system's output, page by page."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from concurro.cli import logs
from concurro.cli.logs import RESTARTED, batches_of, lines_of


def page(position, *texts, more=False, ended=False, epoch=1):
    entries = [[number, "", text, False] for number, text in enumerate(texts)]
    return {"system_id": "job", "entries": entries, "position": position, "more": more, "ended": ended, "epoch": epoch}


class Played:
    """A master that gives one page after the other, and how long it was waited in between."""

    def __init__(self, *pages):
        self._pages = iter(pages)
        self.asked, self.wanted, self.slept = [], [], 0

    def ask(self, wanted, after):
        self.wanted.append(wanted)
        self.asked.append(after)
        return next(self._pages)

    def sleep(self, seconds):
        assert seconds > 0
        self.slept += 1

    def batches(self, *, follow, wanted="jo"):
        found = batches_of(self.ask, wanted, self.sleep, follow=follow)
        return [[line["text"] for line in batch] for _, batch in itertools.islice(found, 9)]


def test_all_pages_that_there_are_make_the_first_batch():
    master = Played(page(4, "a\n", more=True), page(9, "b\nc\n"))

    assert master.batches(follow=False) == [["a", "b", "c"]]
    assert (master.asked, master.slept) == ([0, 4], 0)


def test_following_goes_on_until_the_system_has_ended_and_once_more():
    master = Played(
        page(1, "a\n"), page(1), page(2, "b\n", ended=True), page(3, "last\n", ended=True), page(3, ended=True)
    )

    assert master.batches(follow=True) == [["a"], [], ["b"], ["last"], []]
    assert master.asked == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(("wanted", "whole"), [("jo", "job"), ("jo:17", "job:17"), ("job", "job")])
def test_only_the_first_question_has_the_beginning_of_an_id(wanted, whole):
    master = Played(page(1, "a\n"), page(2, "b\n", ended=True), page(2, ended=True))

    master.batches(follow=True, wanted=wanted)

    assert master.wanted == [wanted, whole, whole]


def test_a_master_that_was_restarted_is_read_from_its_beginning():
    end = page(2, ended=True, epoch=2)
    master = Played(page(9, "a\n"), page(9, epoch=2), page(2, "b\n", epoch=2), end, end)

    assert master.batches(follow=True)[:2] == [["a"], [RESTARTED, "b"]]
    assert master.asked[:4] == [0, 9, 0, 2]


def test_following_ends_with_the_error_of_a_new_master_that_does_not_know_the_system():
    answers = iter([page(9, "a\n"), page(9, ended=True, epoch=2)])

    asked = []

    def ask(wanted, after):
        if after == 0 and asked:
            raise LookupError
        asked.append(after)
        return next(answers)

    with pytest.raises(LookupError):
        list(batches_of(ask, "job", lambda seconds: None, follow=True))


@pytest.mark.parametrize(("gap", "first"), [(False, "a"), (True, "... what was written before is kept no more")])
def test_a_gap_is_a_line_of_its_own(gap, first):
    lines = lines_of(3, "square-3", "a\nb\n", gap)

    assert lines[0] == {"task": 3, "name": "square-3", "text": first}
    assert [line["text"] for line in lines[-2:]] == ["a", "b"]


def test_what_a_task_wrote_does_not_command_the_terminal(monkeypatch):
    page_of_a_task = page(1, ended=True) | {"entries": [[3, "sq\x1b[2Juare", "\x1b]0;title\x07text\n", False]]}

    @contextmanager
    def asked_master(**where):
        yield None

    monkeypatch.setattr(logs, "asked_master", asked_master)
    monkeypatch.setattr(logs, "ask_about", lambda *question: page_of_a_task)

    run = CliRunner().invoke(logs.logs_command, ["job"], color=True)

    assert run.output == "[sq\\x1b[2Juare] \\x1b]0;title\\x07text\n"
