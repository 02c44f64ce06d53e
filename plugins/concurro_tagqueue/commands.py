"""`concurrent tags`: look at jobs by their labels, start slaves for them."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from concurro import Config, asked_master, find_master, master_options
from concurro_tagqueue.assignment import Assignment
from concurro_tagqueue.launching import slave_command
from concurro_tagqueue.notes import find_note, list_notes
from concurro_tagqueue.slave_program import PROGRAM_LABEL
from concurro_tagqueue.task_manager import TaskManager

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from concurro import ApplicationNode
    from concurro_tagqueue.records import LabelRecord

JSON_VERSION = 1
EXIT_USAGE = 2


class JobFailure(click.ClickException):
    """A job that is not there, or cannot be helped."""

    exit_code = EXIT_USAGE


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("tags", epilog="\b\nExamples:\n  concurrent tags list\n  concurrent tags show md5")
def tags_group() -> None:
    """Look at jobs by their labels, and start slave processes for them.

    Without --master, a job with a master of its own on this machine comes first, then the master that is
    configured or runs on the default address.
    """


@tags_group.command("list", epilog="\b\nExamples:\n  concurrent tags list --json")
@master_options
@_json_option
def list_command(master: str | None, keys: str | None, config: str | None, *, as_json: bool) -> None:
    """List the labels that are in use."""
    found: list[tuple[str, LabelRecord]] = []
    if master is None:
        for note in list_notes():
            with asked_master(note.url, keys, config) as application:
                found += [(note.url, record) for record in TaskManager.labels(application)]
        master = find_master(Config.load(config, overrides={"security.keys": keys}))
    if master is not None or not found:
        with asked_master(master, keys, config) as application:
            found += [(application.master_url, record) for record in TaskManager.labels(application)]
    if as_json:
        click.echo(json.dumps({"version": JSON_VERSION, "labels": [_plain(*each) for each in found]}, indent=2))
        return
    rows = [(record.label, *_counts(record), url) for url, record in sorted(found)]
    _print_table([("LABEL", "PROCESSES", "WAITING", "RUNNING", "FINISHED", "MASTER"), *rows], "no labels are in use")


@tags_group.command("show", epilog="\b\nExamples:\n  concurrent tags show md5 -v")
@click.argument("label")
@click.option("-v", "--verbose", is_flag=True, help="Say what each process tells of itself.")
@master_options
@_json_option
def show_command(  # noqa: PLR0913 - what it is given
    label: str, master: str | None, keys: str | None, config: str | None, *, verbose: bool, as_json: bool
) -> None:
    """Show the processes of a job, and its tasks by tag."""
    with _asked(label, master, keys, config) as application:
        record = _look_at(application, label)
    url = application.master_url
    if as_json:
        click.echo(json.dumps({"version": JSON_VERSION, **_plain(url, record)}, indent=2))
        return
    ended = ", was ended" if record.terminated else ""
    click.echo(f"{label} at {url}: {len(record.processes)} processes{ended}")
    if verbose:
        click.echo()
        processes = [(str(process_id), told or "-") for process_id, told in sorted(record.processes.items())]
        _print_table([("PROCESS", "TELLS"), *processes], "no processes")
    click.echo()
    counts = (record.waiting, record.running, record.finished)
    rows = [(tag, *(str(by_tag.get(tag, 0)) for by_tag in counts)) for tag in sorted(set().union(*counts))]
    _print_table([("TAG", "WAITING", "RUNNING", "FINISHED"), *rows], "no tasks")


@tags_group.command("slave", epilog="\b\nExamples:\n  concurrent tags slave md5 --master tcp://server:8081")
@click.argument("label")
@master_options
def slave_command_of_tags(label: str, master: str | None, keys: str | None, config: str | None) -> None:
    """Work for a job that was started by runJob, until it ends.

    Its script is fetched from the master and run here. Ctrl-C hands the task back that is being done.
    """
    with _asked(label, master, keys, config) as application:
        _look_at(application, label)
        manager = TaskManager.connect(application, label)
        try:
            manager.retrieve_data(PROGRAM_LABEL)
        except KeyError:
            message = f"job {label!r} has no script for slaves: start the one that its author wrote for them"
            raise JobFailure(message) from None
        settings = Config.load(config, overrides={"security.keys": keys}).to_plain()
        assignment = Assignment(label, application.master_url, settings)
    sys.stdout.flush()
    sys.stderr.flush()
    command = slave_command(assignment, watched=False)
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and arguments


@contextlib.contextmanager
def _asked(label: str, master: str | None, keys: str | None, config: str | None) -> Iterator[ApplicationNode]:
    """Give an application connected to the master where a job runs."""
    if master is None:
        note = find_note(label)
        settings = Config.load(config, overrides={"security.keys": keys})
        master = note.url if note is not None else find_master(settings)
        if master is None:
            message = (
                f"no job {label!r} runs on this machine, and no master is configured or runs on the default address: "
                "start the job first, or name its master: --master URL"
            )
            raise JobFailure(message)
    with asked_master(master, keys, config) as application:
        yield application


def _look_at(application: ApplicationNode, label: str) -> LabelRecord:
    """Return what is under a label at a master."""
    records = {record.label: record for record in TaskManager.labels(application)}
    if label not in records:
        known = ", ".join(map(repr, records)) or "none"
        message = f"the master at {application.master_url} knows no label {label!r}; there are: {known}"
        raise JobFailure(message)
    return records[label]


def _counts(record: LabelRecord) -> tuple[str, ...]:
    sums = (sum(by_tag.values()) for by_tag in (record.waiting, record.running, record.finished))
    return str(len(record.processes)), *map(str, sums)


def _plain(url: str, record: LabelRecord) -> dict[str, Any]:
    processes = [{"id": process_id, "info": told} for process_id, told in record.processes.items()]
    return {**record._asdict(), "processes": processes, "master": url}


def _print_table(rows: Sequence[Sequence[str]], nothing: str) -> None:
    """Print rows below their titles, or that there are none."""
    if len(rows) == 1:
        click.echo(nothing)
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
