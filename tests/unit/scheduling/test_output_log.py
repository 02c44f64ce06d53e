"""What a master remembers of output."""

from __future__ import annotations

from concurro.scheduling.output_log import PAGE, OutputLog


def test_gives_the_text_of_a_task_as_it_came():
    log = OutputLog()
    log.add("system", 1, "one\n", 0)
    log.add("system", 2, "other\n", 0)
    log.add("system", 1, "two\n", 0)

    assert log.text_of("system", 1) == "one\ntwo\n"
    assert log.text_of("system", 3) is None


def test_says_what_was_dropped():
    log = OutputLog()
    log.add("system", 1, "end\n", 500)

    assert log.text_of("system", 1) == "... 500 bytes of output dropped\nend\n"


def test_keeps_the_last_lines_of_a_task_that_writes_on():
    log = OutputLog(task_limit=100)
    for number in range(1000):
        log.add("system", 1, f"line {number}\n", 0)

    text = log.text_of("system", 1)

    assert text.endswith("line 998\nline 999\n")
    assert text.startswith("line 9")
    assert 80 <= len(text) <= 100
    assert log.size <= 200


def test_forgets_the_task_that_wrote_longest_ago():
    log = OutputLog(task_limit=100, total_limit=1000)
    for number in range(50):
        log.add("system", number, "x" * 99 + "\n", 0)
        log.add("system", 0, "again\n", 0)

    assert log.text_of("system", 0) is not None
    assert log.text_of("system", 1) is None
    assert log.text_of("system", 49) is not None
    assert log.size <= 1000


def test_forgets_nothing_twice():
    log = OutputLog(task_limit=10, total_limit=15)
    for number in range(20):
        log.add("system", number % 3, "abcdefg\n", 0)

    assert log.size == sum(len(log.text_of("system", number) or "") for number in range(3))


def test_gives_what_a_system_wrote_in_the_order_in_which_it_came():
    log = OutputLog()
    log.add("system", 1, "one\n", 0, "first")
    log.add("other", 1, "not meant\n", 0)
    log.add("system", 2, "two\n", 0)
    log.add("system", 1, "three\n", 0)

    pieces, _, more = log.written("system")

    assert [(piece.number, piece.name, piece.text) for piece in pieces] == [
        (1, "first", "one\n"),
        (2, "", "two\n"),
        (1, "first", "three\n"),
    ]
    assert not more


def test_goes_on_where_the_page_before_ended():
    log = OutputLog()
    log.add("system", 1, "one\n", 0)
    _, position, _ = log.written("system")
    nothing, position, _ = log.written("system", position)
    log.add("system", 2, "two\n", 0)
    log.add("system", 1, "three\n", 0)

    pieces, _, _ = log.written("system", position)

    assert nothing == []
    assert [piece.text for piece in pieces] == ["two\n", "three\n"]


def test_gives_one_task_alone_when_it_is_meant():
    log = OutputLog()
    log.add("system", 1, "one\n", 0)
    log.add("system", 2, "two\n", 0)

    pieces, _, _ = log.written("system", 0, 2)

    assert [piece.text for piece in pieces] == ["two\n"]


def test_much_output_comes_in_pages():
    log = OutputLog(task_limit=PAGE)
    for number in range(5):
        log.add("system", number, "x" * (PAGE // 2), 0)

    pages, position, more = [], 0, True
    while more:
        pieces, position, more = log.written("system", position)
        pages.append([piece.number for piece in pieces])

    assert pages == [[0, 1], [2, 3], [4]]


def test_says_where_text_is_gone_that_nobody_has_seen():
    log = OutputLog(task_limit=20)
    log.add("system", 1, "seen by everybody\n", 0)
    _, position, _ = log.written("system")
    for number in range(6):
        log.add("system", 1, f"line {number}\n", 0)

    pieces, position, _ = log.written("system", position)
    log.add("system", 1, "later\n", 0)
    later, _, _ = log.written("system", position)

    assert [piece.gap for piece in pieces] == [True, False, False]
    assert [(piece.text, piece.gap) for piece in later] == [("later\n", False)]


def test_of_much_that_came_at_once_whole_lines_are_kept_after_a_gap():
    log = OutputLog(task_limit=20)
    log.add("system", 1, "before\n", 0)
    log.add("system", 1, "".join(f"line {number}\n" for number in range(9)), 0)
    log.add("system", 1, "x\n", 0)

    pieces, _, _ = log.written("system")

    assert [(piece.text, piece.gap) for piece in pieces] == [("line 7\nline 8\n", True), ("x\n", False)]
    assert log.size == len("line 7\nline 8\nx\n")


def test_who_has_read_everything_stands_behind_the_beginning_though_nothing_was_written():
    log = OutputLog()

    _, position, _ = log.written("system")
    log.add("system", 1, "first\n", 0)
    pieces, _, _ = log.written("system", position)

    assert position > 0
    assert [piece.text for piece in pieces] == ["first\n"]
