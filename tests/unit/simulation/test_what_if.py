"""Recorded loads, and what other strategies and clusters would make of them."""

from __future__ import annotations

import json

import pytest

from concurro.errors import ConfigError
from concurro.journal.folder import JournalFolder
from concurro.journal.store import JournalStore
from concurro.scheduling.rows import InputApplied, Note, SystemAccepted
from concurro.testing import simulate as command
from concurro.testing.recorded_load import make_slaves, read_load
from concurro.testing.simulated_load import Load, TaskKind
from concurro.testing.what_if import ask

TABLE = """job,arrives,duration,count,application,requires,priority,blobs
a,0,0.1,3,ann,,,
a,,2,,ann,gpu=1,5,map=1000;table=20
b,1.5,0.05,2,bob,,,
"""


@pytest.fixture
def csv(tmp_path):
    """Write a table, and return where."""
    place = tmp_path / "load.csv"
    place.write_text(TABLE)
    return place


def test_a_table_gives_jobs_with_their_tasks(csv):
    first, second = read_load(csv).jobs

    assert [task.duration for task in first.tasks] == [0.1, 0.1, 0.1, 2.0]
    assert first.kinds == (TaskKind(0, {}), TaskKind(5, {"gpu": 1.0}))
    assert first.tasks[3].blobs == (("map", 1000), ("table", 20))
    assert (second.arrives, second.application, len(second.tasks)) == (1.5, "bob", 2)


def test_a_document_gives_machines_as_well(tmp_path):
    place = tmp_path / "load.json"
    slaves = [{"name": "node", "count": 2, "workers": 3}, {"name": "big", "resources": {"gpu": 2}}]
    place.write_text(json.dumps({"slaves": slaves, "jobs": [{"tasks": [{"duration": 1, "count": 5}]}]}))

    load = read_load(place)

    assert [(slave.name, slave.workers) for slave in load.slaves] == [("node-0000", 3), ("node-0001", 3), ("big", 4)]
    assert len(load.jobs[0].tasks) == 5


def test_a_journal_gives_the_durations_that_were_measured(tmp_path):
    folder = JournalFolder(tmp_path / "journal")
    store = JournalStore(folder)
    finished = [[0, 0, b"", None, "slave-1", 1, 2_000_000_000], [1, 1, ["E", "text"], None, "slave-1", 1, 5]]
    store.apply(
        [
            SystemAccepted(1, "id", "Job", b"", None, {"weight": 2.0}, "ann", 0, 1000.0),
            InputApplied(1, 0, [{}], Note(0, 2, b"digest")),
            InputApplied(1, 1, [1, 1, 0.0, finished, 0, 0, None, None], Note(2, 0, b"digest")),
        ]
    )
    store.close()
    folder.close()

    (job,) = read_load(tmp_path / "journal").jobs

    assert ([task.duration for task in job.tasks], job.weight, job.application) == ([2.0], 2.0, "ann")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("load.csv", "job,lasts\na,1\n", "load.csv:1: lasts is not known here"),
        ("load.csv", "job,duration\na,long\n", "load.csv:2: 'long' is no number"),
        ("load.csv", "job,duration\na,-1\n", "load.csv:2: '-1' is less than 0"),
        ("load.csv", "job,count\na,1\n", "load.csv:2: a task needs a duration"),
        ("load.csv", "job,duration\n", "has no task"),
        ("load.json", "[]", "is no load"),
        ("load.json", '{"jobs": [{"task": []}]}', "job 0: task is not known here"),
    ],
)
def test_a_load_that_cannot_be_used_is_refused_with_its_place(tmp_path, name, text, told):
    place = tmp_path / name
    place.write_text(text)

    with pytest.raises(ConfigError) as refused:
        read_load(place)

    assert told in str(refused.value)


def test_twice_the_slaves_take_half_the_time(tmp_path):
    place = tmp_path / "load.csv"
    place.write_text("duration,count\n1,80\n")
    jobs = read_load(place).jobs

    small, large = (ask(Load(make_slaves(count, 4), jobs), "least-loaded").makespan for count in (5, 10))

    assert small / large == pytest.approx(2.0, rel=0.02)


def test_applications_with_enough_work_get_equal_shares(tmp_path):
    place = tmp_path / "load.csv"
    place.write_text("job,application,duration,count\na,ann,0.1,400\nb,bob,0.1,400\n")

    shares = ask(Load(make_slaves(2, 4), read_load(place).jobs), "least-loaded").shares

    assert shares["ann"] == pytest.approx(0.5, abs=0.02)


def test_the_command_compares_strategies_on_another_cluster(csv, capsys):
    csv.write_text(TABLE.replace("gpu=1", ""))

    code = command.main(
        ["--load", str(csv), "--slaves", "100", "--strategy", "least-loaded", "--strategy", "two-choices"]
    )

    told = capsys.readouterr().out
    assert code == 0
    assert "2 jobs, 6 tasks, 2.4 s of work; 100 slaves, 400 workers" in told
    assert "least-loaded" in told
    assert "two-choices" in told
    assert "ann" in told


def test_the_command_says_what_no_machine_can_run(csv, capsys):
    code = command.main(["--load", str(csv), "--slaves", "2"])

    assert code == 2
    assert "open tasks are left" in capsys.readouterr().err
