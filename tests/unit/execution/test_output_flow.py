"""Output of one process: whole lines with an owner, bounded in size and rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from concurro.execution.output_flow import BURST, HELD, LINE_LIMIT, PARTIAL_AGE, OutputFlow

pieces = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=40)), max_size=30)


def text_of(entries, stream=None):
    """Return the joined text, of one stream or of both."""
    return "".join(entry[2] for entry in entries if stream in (None, entry[1]))


def test_tells_whole_lines_of_both_streams_in_order():
    flow = OutputFlow()
    flow.take(1, b"one\n")
    flow.take(2, b"two\n")
    flow.take(1, b"three\n")

    entries = flow.settle(7, 0.0, ended=False)

    assert entries == [[7, 1, "one\n", 0], [7, 2, "two\n", 0], [7, 1, "three\n", 0]]
    assert not flow.waiting


def test_the_beginning_of_a_line_waits_for_its_end():
    flow = OutputFlow()
    flow.take(1, b"half a ")

    first = flow.settle(7, 0.0, ended=False)
    flow.take(1, b"line\n")
    second = flow.settle(7, 0.1, ended=False)

    assert first == []
    assert second == [[7, 1, "half a line\n", 0]]


def test_the_beginning_of_a_line_does_not_wait_for_long():
    flow = OutputFlow()
    flow.take(1, b"password? ")

    early = flow.settle(7, 0.0, ended=False)
    late = flow.settle(7, PARTIAL_AGE, ended=False)

    assert early == []
    assert late == [[7, 1, "password? \n", 0]]


def test_a_line_that_its_task_did_not_end_is_told_with_the_tasks_end():
    flow = OutputFlow()
    flow.take(1, b"no newline")

    entries = flow.settle(7, 0.0, ended=True)

    assert entries == [[7, 1, "no newline\n", 0]]


def test_the_beginning_of_a_line_stays_its_owners():
    flow = OutputFlow()
    flow.take(1, b"of seven")
    flow.settle(7, 0.0, ended=False)
    flow.take(1, b"of eight\n")

    entries = flow.settle(8, 0.1, ended=False)

    assert entries == [[7, 1, "of seven\n", 0], [8, 1, "of eight\n", 0]]


def test_a_flood_loses_its_middle_and_says_how_much():
    flow = OutputFlow()
    lines = [b"line %06d\n" % number for number in range(100_000)]
    for line in lines:
        flow.take(1, line)

    entries = flow.settle(7, 0.0, ended=True)

    shown = text_of(entries).encode()
    assert shown.startswith(lines[0])
    assert shown.endswith(lines[-1])
    assert len(shown) <= HELD + 1
    assert len(shown) + sum(entry[3] for entry in entries) in (len(b"".join(lines)), len(b"".join(lines)) + 1)


def test_in_the_long_run_no_more_than_the_rate_is_told():
    flow = OutputFlow()
    told = 0
    for step in range(1000):
        flow.take(1, b"x" * 99 + b"\n" + b"y" * 20_000 + b"\n")
        told += len(text_of(flow.settle(step, step * 0.001, ended=True)))

    assert told <= BURST + 128 * 1024 + 1000


def test_what_was_dropped_without_any_room_is_told_once_there_is_some():
    flow = OutputFlow()
    for owner in range(20):
        flow.take(1, b"x" * HELD)
        flow.settle(owner, 0.0, ended=True)

    assert flow.waiting
    entries = flow.settle(99, 10.0, ended=True)

    assert len(entries) == 1
    assert entries[0][2] == ""
    assert entries[0][3] > 10 * HELD


def test_a_line_without_end_is_told_in_parts_that_cut_no_character():
    flow = OutputFlow()
    flow.take(1, ("ä" * LINE_LIMIT).encode())

    text = text_of(flow.settle(7, 0.0, ended=True))

    assert text.replace("\n", "") == "ä" * LINE_LIMIT
    assert max(len(line.encode()) for line in text.split("\n")) <= LINE_LIMIT


def test_bytes_that_are_no_text_are_escaped():
    flow = OutputFlow()
    flow.take(1, b"\xff\xfe\n")

    assert text_of(flow.settle(7, 0.0, ended=True)) == "\\xff\\xfe\n"


@given(pieces, st.lists(st.integers(0, 30), max_size=5))
def test_below_the_bounds_nothing_is_lost_whenever_it_is_told(written, told_after):
    flow = OutputFlow()
    entries = []
    for index, (stream, piece) in enumerate(written):
        flow.take(stream, piece)
        if index in told_after:
            entries += flow.settle(1, 0.0, ended=False)
    entries += flow.settle(1, 0.0, ended=True)

    for stream in (1, 2):
        whole = b"".join(piece for number, piece in written if number == stream)
        expected = whole + b"\n" if whole and not whole.endswith(b"\n") else whole
        assert text_of(entries, stream) == expected.decode("utf-8", "backslashreplace")
    assert all(entry[3] == 0 for entry in entries)
