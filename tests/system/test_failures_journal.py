"""Masters with a journal that are killed: what was acknowledged goes on."""

from __future__ import annotations

import pytest

from concurro import JournalInUseError, MasterNode
from tests.support.jobs import open_gate
from tests.support.journalled import FREE, Steps, application, executions, journalled, kill, run_until_the_gate
from tests.support.nodes import slave_process
from tests.support.waiting import wait_until


@pytest.mark.slow
def test_f58_a_killed_master_goes_on_and_runs_no_finished_task_again(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_the_gate(node, Steps(60, tmp_path))

        kill(master)
        open_gate(tmp_path)
        with journalled(tmp_path):
            seen, lost = handle.result(60)

    runs = executions(tmp_path)
    assert (seen, lost) == (list(range(60)), [])
    assert {number: runs[number] for number in range(FREE)} == dict.fromkeys(range(FREE), 1)


@pytest.mark.slow
def test_f58_the_result_of_a_detached_system_outlives_the_master(tmp_path):
    open_gate(tmp_path)
    with journalled(tmp_path) as (master, url), slave_process(url):
        with application(url) as node:
            handle = node.submit(Steps(60, tmp_path), detach=True)
            handle.result(30)
        kill(master)

        with journalled(tmp_path), application(url) as node:
            seen, _ = node.attach(handle.system_id).result(30)

    assert seen == list(range(60))
    assert max(executions(tmp_path).values()) == 1


@pytest.mark.slow
def test_f59_a_master_killed_ten_times_has_the_exact_result(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_until_the_gate(node, Steps(20_000, tmp_path))
        open_gate(tmp_path)
        kill(master)
        for _ in range(9):
            with journalled(tmp_path) as (again, _):
                before = len(executions(tmp_path))
                wait_until(lambda before=before: len(executions(tmp_path)) > before, 30, "a further task")
                kill(again)
        assert not handle.done()
        with journalled(tmp_path):
            seen, lost = handle.result(60)

    assert (seen, lost) == (list(range(20_000)), [])


@pytest.mark.slow
def test_f61_a_master_that_was_stopped_goes_on_when_it_is_started_again(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        system_id = run_until_the_gate(node, Steps(60, tmp_path)).system_id
        master.terminate()
        assert master.wait(20) == 0
        open_gate(tmp_path)
        with journalled(tmp_path), application(url) as other:
            seen, lost = other.attach(system_id).result(60)

    assert (seen, lost) == (list(range(60)), [])


@pytest.mark.slow
def test_f62_a_second_master_on_a_journal_is_refused_naming_the_first(tmp_path):
    with journalled(tmp_path) as (master, _):
        second = MasterNode({"master": {"listen": f"ipc://{tmp_path}/other", "journal": str(tmp_path / "journal")}})

        with pytest.raises(JournalInUseError, match=f"process {master.pid}") as caught:
            second.start()

    assert caught.value.pid == master.pid
