"""The numbered inputs of a host: how many are under way, and what is acknowledged when."""

from __future__ import annotations

import pytest

from concurro.scheduling.flow import FIRST_UNITS, MOST_UNITS, QUICK, SLOW, InputFlow

DONE = 0
RAISED = 1


@pytest.fixture
def flow():
    return InputFlow()


def entries(first, count, outcome=DONE):
    return [[number, outcome, b"", None, "north", 1, 1] for number in range(first, first + count)]


def leases(first, count):
    return [("north", number) for number in range(first, first + count)]


def test_numbers_inputs_from_one(flow):
    flow.add(entries(0, 1), leases(0, 1))
    first = flow.next_input(0.0, 0, must_pull=False)
    flow.add(entries(1, 1), leases(1, 1))
    second = flow.next_input(0.0, 0, must_pull=False)

    assert first == (1, entries(0, 1), 0)
    assert second == (2, entries(1, 1), 0)


def test_has_at_most_two_inputs_under_way(flow):
    for number in range(3):
        flow.add(entries(number, 1), leases(number, 1))
        ready = flow.next_input(0.0, 0, must_pull=False)

    assert ready is None
    assert flow.oldest() == 0.0


def test_what_finishes_meanwhile_becomes_one_batch(flow):
    for number in range(10):
        flow.add(entries(number, 1), leases(number, 1))
        flow.next_input(0.0, 0, must_pull=False)
    flow.answered(1, 0, 0.001)

    ready = flow.next_input(0.002, 0, must_pull=False)

    assert ready == (3, entries(2, 8), 0)


def test_sends_nothing_when_there_is_nothing_to_say(flow):
    assert flow.next_input(0.0, 0, must_pull=True) is None
    assert flow.idle


def test_acknowledges_leases_only_after_the_answer_to_their_input(flow):
    flow.add(entries(0, 2), leases(0, 2))
    flow.next_input(0.0, 0, must_pull=False)
    flow.add(entries(2, 1), leases(2, 1))
    flow.next_input(0.0, 0, must_pull=False)

    assert flow.answered(1, 0, 0.1) == leases(0, 2)
    assert flow.answered(2, 0, 0.1) == leases(2, 1)


def test_a_task_that_no_slave_told_of_has_no_lease_to_acknowledge(flow):
    flow.add([*entries(0, 1), *entries(1, 1, RAISED)], [("north", 10), None])
    flow.add(entries(2, 1, RAISED))
    flow.add(entries(3, 1), [("north", 12)])
    flow.next_input(0.0, 0, must_pull=False)

    assert flow.answered(1, 0, 0.1) == [("north", 10), None, None, ("north", 12)]


def test_an_answer_stands_for_the_inputs_before_it(flow):
    for number in range(2):
        flow.add(entries(number, 1), leases(number, 1))
        flow.next_input(0.0, 0, must_pull=False)

    assert flow.answered(2, 0, 0.1) == leases(0, 2)
    assert flow.idle


def test_an_answer_that_nobody_waits_for_acknowledges_nothing(flow):
    flow.add(entries(0, 1), leases(0, 1))

    assert flow.answered(7, 0, 0.1) == []
    assert flow.rest() == leases(0, 1)


def test_pulls_as_much_as_there_is_room(flow):
    assert flow.next_input(0.0, 10, must_pull=True) == (1, [], 10)


def test_pulls_no_more_than_a_batch_at_once(flow):
    _, _, pull = flow.next_input(0.0, 1_000_000, must_pull=True)

    assert pull == FIRST_UNITS


def test_pulls_with_finished_tasks_although_the_pull_before_was_not_answered(flow):
    flow.next_input(0.0, 10, must_pull=True)
    flow.add(entries(0, 1), leases(0, 1))

    assert flow.next_input(0.0, 7, must_pull=False) == (2, entries(0, 1), 7)
    assert flow.pulling == 17


def test_a_pull_that_was_answered_is_under_way_no_more(flow):
    flow.next_input(0.0, 10, must_pull=True)

    flow.answered(1, 3, 0.1)

    assert flow.pulling == 0


def test_an_exhausted_generator_is_pulled_only_when_nothing_is_open(flow):
    flow.exhausted = True

    assert flow.next_input(0.0, 10, must_pull=False) is None
    assert flow.next_input(0.0, 10, must_pull=True) == (1, [], 10)


def test_does_not_pull_before_the_start_was_answered(flow):
    flow.started(0.0)
    assert flow.next_input(0.1, 10, must_pull=True) is None

    flow.answered(0, 0, 0.2)

    assert flow.next_input(0.3, 10, must_pull=True) == (1, [], 10)


def test_a_cancel_is_an_input_of_its_own(flow):
    flow.cancel = "no longer wanted"

    assert flow.next_input(0.0, 0, must_pull=False) == (1, [], 0)


def test_quick_hosts_get_larger_batches_up_to_a_bound(flow):
    for number in range(40):
        flow.add(entries(0, flow.units), leases(0, flow.units))
        n, _, _ = flow.next_input(float(number), 0, must_pull=False)
        flow.answered(n, 0, number + QUICK / 2)

    assert flow.units == MOST_UNITS


def test_slow_hosts_get_smaller_batches_down_to_one(flow):
    for number in range(40):
        flow.add(entries(0, flow.units), leases(0, flow.units))
        n, _, _ = flow.next_input(float(number), 0, must_pull=False)
        flow.answered(n, 0, number + SLOW * 2)

    assert flow.units == 1


def test_a_large_heap_of_results_goes_in_batches(flow):
    flow.add(entries(0, 200), leases(0, 200))

    _, first, _ = flow.next_input(0.0, 0, must_pull=False)
    _, second, _ = flow.next_input(0.0, 0, must_pull=False)

    assert (len(first), len(second)) == (FIRST_UNITS, FIRST_UNITS)
    assert len(flow.answered(1, 0, 0.1)) == FIRST_UNITS


def test_the_rest_is_what_was_never_acknowledged(flow):
    flow.add(entries(0, 3), leases(0, 3))
    flow.next_input(0.0, 0, must_pull=False)

    assert flow.rest() == leases(0, 3)
    assert flow.rest() == []
