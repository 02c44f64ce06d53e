"""Masters whose journal is torn, changed, full, broken, slow or not theirs: lines 71 to 77 of the failure matrix."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
from collections import Counter

import pytest

from concurro import ApplicationNode, MasterUnreachable
from tests.support.jobs import SHIPPED, Mixture, Traced, Waiting, open_gate, read_trace, traced
from tests.support.nodes import master_process, slave_process
from tests.support.programs import command, run_program
from tests.support.small_disk import fill, needs_mount, python_with_disk, seen_by
from tests.support.waiting import wait_until

FREE = 20
"""So many tasks of a job end before the others wait at the gate."""


class Announcing(Mixture):
    """Publishes the name of each task that has ended."""

    def task_finished(self, master, task, result, error):
        super().task_finished(master, task, result, error)
        master.publish(task.name)


class Writing(Traced):
    """Returns so much that the journal grows."""

    def __call__(self):
        super().__call__()
        return os.urandom(20_000)


def application(url):
    return ApplicationNode(url, config={"application": {**SHIPPED["application"], "connect_timeout": 60.0}})


def job(folder):
    return Announcing(
        *(Traced(f"free-{n}", folder) for n in range(FREE)), *(Waiting(f"gated-{n}", folder) for n in range(4))
    )


def journalled(folder, **options):
    return master_process(folder, master={"journal": str(folder / "journal")}, **options)


def run_to_the_gate_and_kill(node, master, system):
    """Return a handle on a system whose free tasks are all on disk; its master is dead."""
    handle = node.submit(system)
    published = handle.partial_results()
    assert {next(published) for _ in range(FREE)} == {f"free-{n}" for n in range(FREE)}
    master.kill()
    master.wait(30)
    return handle


def refused_start(folder):
    """Start a master by its command on the journal of a folder; return what it says on its way out."""
    config = folder / "concurrent.toml"
    config.write_text(f'[master]\njournal = "{folder}/journal"\nlisten = "ipc://{folder}/other"\n')
    run = run_program(command("concurrent-master"), "--config", config, expect=2)
    assert "Traceback" not in run.stderr
    return run.stderr


def made(folder):
    """Let a master make a journal, and end."""
    with journalled(folder) as (master, _):
        master.terminate()
        assert master.wait(20) == 0
    return folder / "journal"


@pytest.mark.slow
def test_f71_a_master_goes_on_behind_a_torn_tail_of_its_journal(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        handle = run_to_the_gate_and_kill(node, master, job(tmp_path))

        with (tmp_path / "journal" / "journal.db-wal").open("ab") as log:
            log.write(os.urandom(3000))  # as a write leaves it that was under way
        open_gate(tmp_path)
        with journalled(tmp_path):
            report = handle.result(60)

    assert report.errors == []
    assert Counter(report.finished) == {task.name: 1 for task in job(tmp_path).tasks}
    assert {name: count for name, count in traced(tmp_path).items() if "free" in name} == {
        f"free-{n}": 1 for n in range(FREE)
    }


@pytest.mark.slow
def test_f72_a_master_refuses_a_journal_in_which_a_bit_was_flipped_and_leaves_it_as_it_is(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        run_to_the_gate_and_kill(node, master, job(tmp_path))
    log = tmp_path / "journal" / "journal.db-wal"
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)

    said = [refused_start(tmp_path) for _ in range(2)]
    check = run_program(command("concurrent"), "journal", "check", tmp_path / "journal", expect=1)

    assert all("journal.db-wal: the bytes from " in text for text in [*said, check.stderr])
    assert log.read_bytes() == content


@needs_mount
@pytest.mark.slow
def test_f73_a_master_whose_disk_is_full_waits_says_so_and_goes_on_when_there_is_room(tmp_path, runtime_folder):
    disk = tmp_path / "disk"
    disk.mkdir()
    options = {"python": python_with_disk(disk, "32m"), "master": {"journal": str(disk / "journal")}}
    with (
        master_process(runtime_folder, **options) as (master, url),
        slave_process(url, workers=2),
        application(url) as node,
    ):
        tasks = [Writing(f"task-{n}", tmp_path) for n in range(200)]
        handle = node.submit(Announcing(*tasks))
        fill(seen_by(master.pid, disk))
        wait_until(lambda: node.status()["journal"]["full"], 30, "the master to notice")
        wait_until(lambda: len(read_trace(tmp_path)) == len(tasks), 30, "results that wait for room")
        sentence = handle.explain()
        done = handle.done()
        (seen_by(master.pid, disk) / "ballast").unlink()
        report = handle.result(60)
        full = node.status()["journal"]["full"]

    assert "the disk of the master's journal is full" in sentence
    assert not done
    assert report.errors == []
    assert sorted(report.finished) == sorted(task.name for task in tasks)
    assert set(traced(tmp_path).values()) == {1}
    assert not full


@pytest.mark.slow
def test_f74_a_master_whose_disk_fails_ends_at_once_and_the_next_one_loses_nothing(tmp_path):
    with journalled(tmp_path) as (master, url), slave_process(url, workers=2), application(url) as node:
        system = job(tmp_path)
        handle = node.submit(system)
        published = handle.partial_results()
        early = {next(published) for _ in range(FREE)}

        resource.prlimit(master.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        open_gate(tmp_path)
        code = master.wait(30)
        said = master.stderr.read()
        with pytest.raises(MasterUnreachable, match="the journal cannot be written"):
            handle.result(60)
        with journalled(tmp_path), application(url) as another:
            report = another.attach(handle.system_id).result(60)

    assert code != 0
    assert "the journal cannot be written" in said
    assert len(early) == FREE
    assert report.errors == []
    assert Counter(report.finished) == {task.name: 1 for task in system.tasks}
    assert {name: count for name, count in traced(tmp_path).items() if "free" in name} == {
        f"free-{n}": 1 for n in range(FREE)
    }


SLOW_DISK = """
import os, time
from concurro.journal.store import JournalStore
apply = JournalStore.apply
def wait_and_apply(store, rows):
    while os.path.exists({gate!r}):
        time.sleep(0.01)
    return apply(store, rows)
JournalStore.apply = wait_and_apply
"""


@pytest.mark.slow
def test_f75_a_disk_that_takes_its_time_keeps_only_those_who_wait_for_it(tmp_path):
    slow = tmp_path / "slow"
    with (
        journalled(tmp_path, prelude=SLOW_DISK.format(gate=str(slow))) as (_, url),
        slave_process(url) as slave,
        application(url) as node,
    ):
        slow.touch()
        handles = []
        submitting = threading.Thread(target=lambda: handles.append(node.submit(job(tmp_path))))
        submitting.start()
        wait_until(lambda: node.status()["journal"]["waiting"], 30, "rows that wait")
        plain = node.push_task(Traced("plain", tmp_path)).result(30)
        waits = submitting.is_alive()
        slow.unlink()
        open_gate(tmp_path)
        submitting.join(30)
        report = handles[0].result(60)

    assert waits  # nothing is accepted before it is on disk
    assert plain != slave.pid
    assert report.errors == []
    assert set(traced(tmp_path).values()) == {1}


@pytest.mark.slow
def test_f76_a_master_refuses_a_journal_of_another_format(tmp_path):
    with sqlite3.connect(made(tmp_path) / "journal.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()

    said = refused_start(tmp_path)

    assert "has format 99, written by a newer version; this one reads format" in said


@pytest.mark.slow
def test_f77_a_master_refuses_a_journal_that_others_may_read(tmp_path):
    folder = made(tmp_path)
    folder.chmod(0o750)

    said = refused_start(tmp_path)

    assert f"chmod 700 {folder}" in said
    assert "mode 750" in said
