"""What is judged a problem, and what to do about it."""

from __future__ import annotations

import pytest

from concurro.cli.findings import (
    Verdict,
    compare_versions,
    judge_clock,
    judge_machine,
    judge_status,
    judge_versions,
)

VERSIONS = {"python": "3.11.2", "concurro": "0.1.0", "pyzmq": "27.3.0", "msgpack": "1.1", "cloudpickle": "3.1"}
SLAVE = {"id": "north-1", "workers": 4, "sick": "", "draining": False, "stopped": []}
STATUS = {"url": "ipc:///m", "slaves": [SLAVE], "systems": []}


def bad(findings):
    """Return what is not all right."""
    return [finding for finding in findings if finding.verdict is not Verdict.OK]


def test_a_sound_installation_has_nothing_against_it():
    assert bad(judge_versions("here", VERSIONS)) == []


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        ({"pyzmq": "27.2.1"}, "ten times more slowly", "pyzmq>=27.3"),
        ({"msgpack": None}, "msgpack is not installed", "pip install msgpack"),
    ],
)
def test_what_is_missing_or_too_old_is_a_problem(changes, text, remedy):
    versions = {name: version for name, version in {**VERSIONS, **changes}.items() if version}

    (finding,) = bad(judge_versions("here", versions))

    assert finding.verdict is Verdict.PROBLEM
    assert text in finding.text
    assert remedy in finding.remedy


def test_another_python_is_a_problem_and_another_patch_of_it_is_none():
    (finding,) = compare_versions("slave north-1", {**VERSIONS, "python": "3.12.1"}, VERSIONS)

    assert finding.verdict is Verdict.PROBLEM
    assert finding.text == "Python 3.11 here, 3.12 on slave north-1; tasks travel only between equal versions"
    assert list(compare_versions("slave north-1", {**VERSIONS, "python": "3.11.9"}, VERSIONS)) == []


def test_a_library_that_differs_is_named_on_both_sides():
    there, here = {**VERSIONS, "numpy": "2.0.1", "cloudpickle": "3.0"}, {**VERSIONS, "numpy": "1.26.4"}

    found = list(compare_versions("slave north-1", there, here))

    assert [finding.verdict for finding in found] == [Verdict.WARNING] * 2
    assert found[0].text.startswith("cloudpickle 3.1 here, 3.0 on slave north-1")
    assert found[1].text.startswith("numpy 1.26.4 here, 2.0.1 on slave north-1")


@pytest.mark.parametrize("name", ["pyzmq", "libzmq", "msgpack", "psutil", "zope.interface"])
def test_a_library_of_the_wire_may_differ(name):
    assert list(compare_versions("master", {**VERSIONS, name: "1"}, {**VERSIONS, name: "2"})) == []


MACHINE = {
    "limits": {"open files": [1024, 65536], "processes": [4096, 4096]},
    "memory": {"total": 8 << 30, "available": 6 << 30},
    "shared_memory": {"memfd": True, "total": 4 << 30, "available": 4 << 30},
    "backlog": 4096,
}


def test_a_sound_machine_has_nothing_against_it():
    assert bad(judge_machine("here", MACHINE)) == []


@pytest.mark.parametrize(
    ("changes", "verdict", "topic", "remedy"),
    [
        ({"limits": {"open files": [128, 128]}}, Verdict.PROBLEM, "limits", "ulimit -Hn"),
        ({"limits": {"open files": [1024, 1024]}}, Verdict.WARNING, "limits", "ulimit -Hn"),
        ({"limits": {"processes": [100, 4096]}}, Verdict.WARNING, "limits", "ulimit -u"),
        ({"memory": {"total": 8 << 30, "available": 1 << 20}}, Verdict.WARNING, "memory", "memory_limit"),
        ({"shared_memory": {"memfd": False}}, Verdict.WARNING, "shared memory", "Linux"),
        (
            {"shared_memory": {"memfd": True, "total": 64 << 20, "available": 1 << 20}},
            Verdict.WARNING,
            "shared memory",
            "--shm-size",
        ),
        ({"backlog": 64}, Verdict.WARNING, "connections", "somaxconn"),
    ],
)
def test_what_is_scarce_is_told_with_what_to_do(changes, verdict, topic, remedy):
    (finding,) = bad(judge_machine("here", {**MACHINE, **changes}))

    assert (finding.verdict, finding.topic) == (verdict, topic)
    assert remedy in finding.remedy


def test_unlimited_is_no_limit():
    found = list(judge_machine("here", {"limits": {"open files": [-1, -1], "processes": [-1, -1]}}))

    assert bad(found) == []
    assert "any number" in found[0].text


def test_where_nothing_is_known_nothing_is_said():
    assert list(judge_machine("slave north-1", {})) == []


@pytest.mark.parametrize(
    ("ahead", "unsure", "text"),
    [(125.0, 0.1, "2 min 5 s ahead of the clock here"), (-60.0, 0.1, "1 min behind the clock here")],
)
def test_a_clock_that_is_off_is_told(ahead, unsure, text):
    finding = judge_clock("slave north-1", ahead, unsure, "the clock here")

    assert (finding.verdict, finding.text) == (Verdict.WARNING, text)


def test_a_difference_that_may_be_the_way_of_the_question_is_none():
    assert judge_clock("slave north-1", 5.0, 4.0, "the clock here").verdict is Verdict.OK


def test_a_master_without_slaves_says_how_to_start_one():
    (finding,) = bad(judge_status({**STATUS, "slaves": []}))

    assert finding.remedy == "start one: concurrent-slave --master ipc:///m"


@pytest.mark.parametrize(
    ("changes", "verdict", "text"),
    [
        ({"sick": "no disk"}, Verdict.PROBLEM, "gets no tasks: no disk"),
        ({"stopped": [71, 72]}, Verdict.WARNING, "process 71 72"),
    ],
)
def test_a_slave_that_is_not_well_is_named(changes, verdict, text):
    (finding,) = bad(judge_status({**STATUS, "slaves": [{**SLAVE, **changes}]}))

    assert (finding.where, finding.verdict) == ("slave north-1", verdict)
    assert text in finding.text


def test_a_system_whose_tasks_nobody_can_run_is_told():
    system = {"system_id": "3f9c", "stuck": "no slave can run task 3f9c:1: no gpu"}

    (finding,) = bad(judge_status({**STATUS, "systems": [system]}))

    assert "no gpu" in finding.text
    assert finding.remedy == "concurrent explain 3f9c"
