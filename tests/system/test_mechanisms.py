"""Every mechanism matters: with it switched off, the test of its failure fails, and for that reason.

A mechanism is a file of `tests/support/switches`, which takes it out of every process of a run.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.leftovers import watch_leftovers
from tests.support.switched_off import run_without

LATE_RESULTS = "test_f38_a_stopped_slave_is_lost_and_joins_again_its_late_results_dropped_and_counted"
RETURNING = "tests/system/test_failures_returning.py"

LOSSES = "tests/system/test_tessera_losses.py"
TESSERA_NETWORK = "tests/system/test_tessera_network.py"
TAGGED = "tests/system/test_tagged_jobs.py"

FAILURE_TESTS = [
    (
        "lease_fencing",
        f"tests/system/test_failures_frozen.py::{LATE_RESULTS}",
        "assert set(report.slaves.values()) == {second}",
    ),
    (
        "resend",
        "tests/system/test_failures_network.py::test_f54_what_was_swallowed_before_a_cut_is_said_again",
        "report = handle.result(30)",
    ),
    (
        "closed_keys",
        "tests/integration/links/test_strangers.py::test_without_an_authenticator_nobody_gets_in",
        "assert not came",
    ),
    (
        "group_kill",
        "tests/system/test_failures_limits.py::test_f15_the_children_of_an_attempt_that_times_out_end_with_it",
        "the end of the child",
    ),
    (
        "commit_before_ack",
        f"{RETURNING}::test_f58_a_result_is_acknowledged_once_it_is_on_disk_and_not_run_again",
        "assert executions(tmp_path) == {0: 1}",
    ),
    (
        "tessera_loss",
        f"{LOSSES}::test_f84_calls_of_a_tessera_whose_worker_died_fail_within_seconds",
        "TimeoutError",
    ),
    ("mailbox_bound", f"{LOSSES}::test_f85_a_full_mailbox_refuses_calls", "[MailboxFullError] * 6"),
    ("call_probes", f"{LOSSES}::test_f86_a_circle_of_calls_is_an_error", "TimeoutError"),
    (
        "tessera_restarts",
        f"{LOSSES}::test_f87_a_tessera_with_restarts_is_constructed_again_elsewhere",
        "is lost: the worker",
    ),
    (
        "staff_dismissal",
        f"{TESSERA_NETWORK}::test_f88_the_old_incarnation_is_fenced_after_a_heal",
        "the end of the old incarnation",
    ),
    ("resend", f"{TESSERA_NETWORK}::test_f89_order_is_kept_over_reconnects[cut]", "task.get("),
    (
        "crash_budget",
        f"{RETURNING}::test_f31_no_task_takes_more_than_three_workers_although_the_master_is_killed",
        "assert len(read_trace(tmp_path)) - lost_with_its_slave == 3",
    ),
    (
        "tag_session_end",
        f"{TAGGED}::test_a_task_of_a_slave_that_is_killed_runs_again_elsewhere",
        "the start of task 1",
    ),
    (
        "tag_watchdog",
        f"{TAGGED}::test_a_task_of_a_slave_that_is_stopped_runs_elsewhere_after_its_watchdog",
        "the start of task 1",
    ),
    (
        "tag_hand_back",
        f"{TAGGED}::test_ctrl_c_in_a_slave_hands_its_task_back_to_the_front",
        "TaskRaisedException",
    ),
    (
        "tag_launched_end",
        f"{TAGGED}::test_slaves_that_were_launched_end_with_a_master_process_that_is_killed",
        "the end of",
    ),
    (
        "tag_essential",
        f"{TAGGED}::test_a_job_on_a_running_master_ends_with_its_master_process",
        "TimeoutExpired",
    ),
]
"""Mechanism, the test of its failure, and the words in which that must fail."""


NOTHING = ("nothing", FAILURE_TESTS[2][1])
AT_ONCE = 3
"""How many tests run without their mechanisms at once: what never comes is waited for, and that takes no processor."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Give the outcome of each chosen run, as a future."""
    folder = tmp_path_factory.mktemp("mechanisms")
    chosen = [item.callspec.params["failure"] for item in request.session.items if item.path == request.path]
    with watch_leftovers(), ThreadPoolExecutor(AT_ONCE) as lanes:
        runs = {}
        for place, (mechanism, test, *_) in enumerate(chosen):
            (folder / str(place)).mkdir()
            runs[mechanism, test] = lanes.submit(run_without, mechanism, test, folder / str(place))
        yield runs
        for run in runs.values():
            run.cancel()


@pytest.fixture(autouse=True)
def leaves_nothing_behind():
    """Leave it to the fixture above, and to the tests that it runs: those of others run meanwhile."""


@pytest.mark.parametrize("failure", FAILURE_TESTS, ids=[entry[0] for entry in FAILURE_TESTS])
def test_without_a_mechanism_the_test_of_its_failure_fails(outcomes, failure):
    mechanism, test, words = failure

    outcome = outcomes[mechanism, test].result()

    assert outcome.verdict == "failed"
    failing = [line for line in outcome.traceback.splitlines() if line.startswith((">", "E"))]
    assert any(words in line for line in failing), outcome.traceback


@pytest.mark.parametrize("failure", [NOTHING], ids=["nothing"])
def test_a_run_with_nothing_switched_off_passes(outcomes, failure):
    assert outcomes[failure].result().verdict == "passed"
