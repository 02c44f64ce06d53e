"""Output of tasks in the application's own streams."""

from __future__ import annotations

import io
import threading

import pytest

from concurro.nodes.printer import QUEUE_LIMIT, Printer, mark_of


@pytest.fixture
def printer():
    printer = Printer(lambda system, number: "pushed" if (system, number) == (1, 5) else "")
    yield printer
    printer.close()


def entry(text, *, number=3, name="square-3", slave="vm-1", stream=1, dropped=0, system=1):
    """Return an entry of PRINTED."""
    return [system, number, name, slave, stream, text, dropped]


def test_marks_each_line_and_keeps_the_streams_apart(printer, capsys):
    printer.show([entry("one\ntwo\n"), entry("wrong\n", stream=2)])
    printer.settle()

    shown = capsys.readouterr()
    assert shown.out == "[square-3 vm-1] one\n[square-3 vm-1] two\n"
    assert shown.err == "[square-3 vm-1] wrong\n"


def test_a_task_without_name_is_called_by_what_is_known(printer, capsys):
    printer.show([entry("a\n", name="", number=5), entry("b\n", name="", number=6)])
    printer.settle()

    assert capsys.readouterr().out == "[pushed vm-1] a\n[task 6 vm-1] b\n"


def test_the_host_of_a_system_is_marked_with_its_name_alone(printer, capsys):
    printer.show([entry("begins\n", number=None, name="Search", slave="")])
    printer.settle()

    assert capsys.readouterr().out == "[Search] begins\n"


def test_says_how_much_was_dropped(printer, capsys):
    printer.show([entry("end\n", dropped=123), entry("", dropped=7)])
    printer.settle()

    assert capsys.readouterr().out.splitlines() == [
        "[square-3 vm-1] ... 123 bytes of output dropped",
        "[square-3 vm-1] end",
        "[square-3 vm-1] ... 7 bytes of output dropped",
    ]


def test_shows_the_last_state_of_a_line_that_overwrites_itself(printer, capsys):
    printer.show([entry("\r10 %\r20 %\r\n")])
    printer.settle()

    assert capsys.readouterr().out == "[square-3 vm-1] 20 %\n"


def test_an_empty_line_is_a_line(printer, capsys):
    printer.show([entry("a\n\nb\n")])
    printer.settle()

    assert capsys.readouterr().out == "[square-3 vm-1] a\n[square-3 vm-1] \n[square-3 vm-1] b\n"


def test_a_long_name_is_cut_and_stays_on_its_line():
    assert mark_of("a\nb", "vm-1") == "[a b vm-1] "
    assert mark_of("x" * 100, "") == f"[{'x' * 37}...] "


class StuckStream(io.StringIO):
    """Takes nothing until it is let."""

    def __init__(self):
        super().__init__()
        self.entered = threading.Event()
        self.free = threading.Event()

    def write(self, text):
        self.entered.set()
        self.free.wait(10)
        return super().write(text)


def test_a_stream_that_takes_nothing_holds_nobody_up_and_costs_bounded_memory(printer, monkeypatch):
    stream = StuckStream()
    monkeypatch.setattr("sys.stdout", stream)
    printer.show([entry("first\n")])
    assert stream.entered.wait(10)

    printer.settle(0.0)
    for _ in range(200):
        printer.show([entry("x" * 65_536 + "\n")])
    waiting = printer._size
    stream.free.set()
    printer.close()

    assert waiting <= QUEUE_LIMIT
    first, *_, last = stream.getvalue().splitlines()
    assert first == "[square-3 vm-1] first"
    assert last.endswith(" characters of output dropped")


@pytest.mark.parametrize("stream", [None, io.TextIOWrapper(io.BytesIO(), "ascii")], ids=["none", "ascii"])
def test_a_program_without_console_or_with_a_narrow_one_goes_on(printer, monkeypatch, stream):
    monkeypatch.setattr("sys.stdout", stream)
    printer.show([entry("ä\n")])
    printer.settle()

    assert printer._is_idle()
    assert stream is None or stream.buffer.getvalue() == b"[square-3 vm-1] \\xe4\n"


def test_close_writes_what_waits(capsys):
    printer = Printer(lambda system, number: "")
    printer.show([entry("last words\n")])

    printer.close()
    printer.show([entry("too late\n")])

    assert capsys.readouterr().out == "[square-3 vm-1] last words\n"
