"""`concurrent tags`, without any process."""

from __future__ import annotations

import contextlib
import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import concurro_tagqueue.commands
from concurro_tagqueue import LabelRecord, TaskManager
from concurro_tagqueue.commands import tags_group

URL = "ipc:///somewhere/master"
ROOTS = LabelRecord("roots", {"sqrt": 3}, {"sqrt": 1, "cube": 2}, {}, {0: "master process, north", 4: ""}, False)  # noqa: FBT003 - as the master tells it
GRID = LabelRecord("grid", {}, {}, {"row": 7}, {}, True)  # noqa: FBT003 - as above


@pytest.fixture
def invoke(monkeypatch):
    """Return a function that calls the command for a master that has two labels."""
    monkeypatch.setattr(concurro_tagqueue.commands, "list_notes", list)
    monkeypatch.setattr(concurro_tagqueue.commands, "find_note", lambda label: None)
    monkeypatch.setattr(concurro_tagqueue.commands, "find_master", lambda config: URL)
    application = SimpleNamespace(master_url=URL)
    monkeypatch.setattr(
        concurro_tagqueue.commands, "asked_master", lambda *arguments: contextlib.nullcontext(application)
    )
    monkeypatch.setattr(TaskManager, "labels", staticmethod(lambda master: [ROOTS, GRID]))
    return lambda *arguments: CliRunner().invoke(tags_group, arguments)


def words(text):
    return [line.split() for line in text.splitlines()]


def test_the_labels_are_listed_with_their_sums(invoke):
    run = invoke("list")

    assert words(run.stdout) == [
        ["LABEL", "PROCESSES", "WAITING", "RUNNING", "FINISHED", "MASTER"],
        ["grid", "0", "0", "0", "7", URL],
        ["roots", "2", "3", "3", "0", URL],
    ]


def test_a_job_is_shown_by_tag(invoke):
    run = invoke("show", "roots")

    assert words(run.stdout) == [
        ["roots", "at", f"{URL}:", "2", "processes"],
        [],
        ["TAG", "WAITING", "RUNNING", "FINISHED"],
        ["cube", "0", "2", "0"],
        ["sqrt", "3", "1", "0"],
    ]


def test_a_job_is_shown_with_what_its_processes_tell(invoke):
    run = invoke("show", "-v", "roots")

    assert words(run.stdout)[2:5] == [["PROCESS", "TELLS"], ["0", "master", "process,", "north"], ["4", "-"]]


def test_a_job_that_was_ended_says_so(invoke):
    assert "0 processes, was ended" in invoke("show", "grid").stdout


def test_a_job_comes_as_json(invoke):
    record = json.loads(invoke("show", "roots", "--json").stdout)

    assert record == {
        "version": 1,
        "label": "roots",
        "master": URL,
        "waiting": {"sqrt": 3},
        "running": {"sqrt": 1, "cube": 2},
        "finished": {},
        "processes": [{"id": 0, "info": "master process, north"}, {"id": 4, "info": ""}],
        "terminated": False,
    }


def test_the_list_comes_as_json(invoke):
    listed = json.loads(invoke("list", "--json").stdout)

    assert (listed["version"], [record["label"] for record in listed["labels"]]) == (1, ["roots", "grid"])


@pytest.mark.parametrize("command", ["show", "slave"])
def test_an_unknown_label_ends_with_2_and_the_names_that_there_are(command, invoke):
    run = invoke(command, "root")

    assert run.exit_code == 2
    assert "knows no label 'root'; there are: 'roots', 'grid'" in run.stderr


def test_a_master_without_labels_says_so(invoke, monkeypatch):
    monkeypatch.setattr(TaskManager, "labels", staticmethod(lambda master: []))

    assert invoke("list").stdout == "no labels are in use\n"


@pytest.mark.parametrize("command", ["show", "slave"])
def test_a_label_without_any_master_is_told_at_once(command, invoke, monkeypatch):
    monkeypatch.setattr(concurro_tagqueue.commands, "find_master", lambda config: None)
    monkeypatch.setattr(concurro_tagqueue.commands, "asked_master", None)  # nobody is waited for

    run = invoke(command, "roots")

    assert run.exit_code == 2
    assert "no job 'roots' runs on this machine, and no master" in run.stderr
