"""What a master remembers of output."""

from __future__ import annotations

from concurro.scheduling.output_log import OutputLog


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
