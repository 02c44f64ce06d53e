"""Every line of the failure matrix has a test that is named after it, and every such test a line."""

from __future__ import annotations

from collections import Counter

from tests.support.failure_lines import failure_lines, numbered_tests

UNUSED = {27, 41}


def test_every_line_is_there_once_and_in_order():
    assert [line.number for line in failure_lines()] == sorted(set(range(1, 92)) - UNUSED)


def test_every_line_has_the_test_that_it_names():
    found = {(test.number, test.name) for test in numbered_tests()}

    missing = [(line.number, line.test) for line in failure_lines() if (line.number, line.test) not in found]

    assert missing == []


def test_every_test_with_a_number_belongs_to_a_line():
    numbers = {line.number for line in failure_lines()}

    assert [test for test in numbered_tests() if test.number not in numbers] == []


def test_no_two_tests_have_the_same_name():
    names = Counter(test.name for test in numbered_tests())

    assert [name for name, count in names.items() if count > 1] == []
