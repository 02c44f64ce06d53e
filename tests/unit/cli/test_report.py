"""What a run says at its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import concurro
from concurro import RefusedError, RemoteTraceback, StrategyError, SystemFailedError, UnknownSystemError
from concurro.cli.outcomes import exit_code_of, failure_text, without_our_frames
from concurro.cli.report import Report, print_detached, print_report, summary, to_json
from concurro.errors import AddressError, KeyFileError, MasterUnreachable

COUNTS = {"queued": 0, "leased": 0, "done": 113, "failed": 0, "cancelled": 15}
OWN = Path(concurro.__file__).parent


def test_the_summary_counts_tasks_by_their_end():
    assert summary(COUNTS, 1.239) == "128 tasks: 113 done, 15 cancelled, 0 failed in 1.24 s"


def test_the_summary_names_what_is_open():
    assert (
        summary({"done": 1, "leased": 2, "queued": 3}, 1) == "6 tasks: 1 done, 0 cancelled, 0 failed, 5 open in 1.00 s"
    )


def test_the_summary_of_one_task_is_in_the_singular():
    assert summary({"done": 1}, 0.5) == "1 task: 1 done, 0 cancelled, 0 failed in 0.50 s"


def test_the_result_goes_to_stdout_and_the_rest_to_stderr(capsys):
    print_report(Report("id", "complete", has_result=True, result=[1, "a"], counts=COUNTS, elapsed=1.0), as_json=False)

    out, err = capsys.readouterr()
    assert out == "[1, 'a']\n"
    assert err == "128 tasks: 113 done, 15 cancelled, 0 failed in 1.00 s\n"


def test_the_summary_names_the_system_where_a_master_can_be_asked_about_it(capsys):
    print_report(Report("3f9c", "complete", counts=COUNTS, elapsed=1.0), as_json=False, tell_id=True)

    assert capsys.readouterr().err == "128 tasks: 113 done, 15 cancelled, 0 failed in 1.00 s; system 3f9c\n"


def test_a_result_of_none_is_printed(capsys):
    print_report(Report("id", "complete", has_result=True), as_json=False)

    assert capsys.readouterr().out == "None\n"


def test_a_failed_job_prints_nothing_on_stdout(capsys):
    print_report(Report("id", "failed", failure="Traceback\nValueError: x", counts={}), as_json=False)

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Traceback\nValueError: x\n")


def test_json_has_a_version_and_every_fact():
    record = json.loads(
        to_json(Report("id", "complete", has_result=True, result={"a": (1, 2)}, counts=COUNTS, elapsed=1.5))
    )

    assert record == {
        "version": 1,
        "system_id": "id",
        "state": "complete",
        "result": {"a": [1, 2]},
        "error": None,
        "counts": COUNTS,
        "elapsed": 1.5,
    }


@pytest.mark.parametrize("result", [{1, 2}, {(1, 2): 3}, float("nan"), object])
def test_a_result_that_json_lacks_is_shown_as_its_repr(result):
    assert json.loads(to_json(Report("id", "complete", has_result=True, result=result)))["result"] == repr(result)


def test_what_to_do_with_a_detached_job_names_the_key_that_it_needs(capsys):
    print_detached("some-id", "tcp://head:8081", as_json=False, keys="my keys/ada.key")

    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert "state:   concurrent explain some-id --master tcp://head:8081 --keys 'my keys/ada.key'" in lines
    assert "cancel:  concurrent cancel some-id --master tcp://head:8081 --keys 'my keys/ada.key'" in lines
    node = """ApplicationNode('tcp://head:8081', config={"security.keys": 'my keys/ada.key'})"""
    assert f"result:  {node}.attach('some-id').result()" in lines


def test_a_detached_job_prints_its_id_alone_on_stdout(capsys):
    print_detached("some-id", "ipc:///run/m", as_json=False)

    out, err = capsys.readouterr()
    assert out == "some-id\n"
    assert "concurrent cancel some-id --master ipc:///run/m" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AddressError("x"), 2),
        (UnknownSystemError("x"), 2),
        (MasterUnreachable("x"), 3),
        (RefusedError("x"), 3),
        (SystemFailedError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code(error, code):
    assert exit_code_of(error) == code


def test_our_frames_are_left_out_of_a_traceback():
    text = (
        "Traceback (most recent call last):\n"
        f'  File "{OWN}/nodes/host_core.py", line 1, in call\n'
        "    ours()\n"
        "    ^^^^^^\n"
        '  File "/home/ann/job.py", line 9, in task_finished\n'
        "    1 / 0\n"
        "    ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )

    assert without_our_frames(text) == (
        "Traceback (most recent call last):\n"
        '  File "/home/ann/job.py", line 9, in task_finished\n'
        "    1 / 0\n"
        "    ~~^~~\n"
        "ZeroDivisionError: division by zero"
    )


def test_a_failure_shows_the_remote_traceback_and_the_notes():
    error = ValueError("bad")
    error.__cause__ = RemoteTraceback("Traceback: remote\nValueError: bad")
    error.add_note("raised by task_finished of the task system")

    assert failure_text(error) == "Traceback: remote\nValueError: bad\nraised by task_finished of the task system"


def test_a_failure_that_says_more_than_its_remote_traceback_says_both():
    error = StrategyError("strategy 'mine' raised KeyError in rate: 'north'")
    error.__cause__ = RemoteTraceback("Traceback: remote\nKeyError: 'north'")

    assert failure_text(error) == f"Traceback: remote\nKeyError: 'north'\nStrategyError: {error}"


def test_a_failure_without_a_traceback_is_one_line():
    assert failure_text(LookupError("no such number")) == "LookupError: no such number"
    assert failure_text(SystemFailedError("some text")) == "SystemFailedError: some text"


def test_an_error_of_ours_that_follows_from_another_is_shown_itself():
    error = KeyFileError("this key file cannot be read", "ada.key")
    error.__cause__ = FileNotFoundError(2, "No such file or directory")

    assert failure_text(error) == "KeyFileError: ada.key: this key file cannot be read"
