"""`concurrent logs`: what the tasks and callbacks of a system printed.

The master keeps the last lines of recent tasks; they are asked for page by page, and with
`--follow` again and again until the system has ended.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.asking import ask_about, asked_master, master_options
from concurro.cli.interruption import interruptible
from concurro.cli.outcomes import EXIT_INTERRUPTED
from concurro.cli.printing import JSON_VERSION, examples, json_option, print_json, visible, visible_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERIOD = 0.5
"""Seconds from one question to the next [s]."""

RESTARTED = "... the master was restarted: output of before that was not read here is gone"


@click.command(
    "logs",
    epilog=examples("concurrent logs 3f9c", "concurrent logs 3f9c --follow", "concurrent logs 3f9c:17 --lines 20"),
)
@click.argument("wanted", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Go on until the system has ended.")
@click.option("--lines", type=click.IntRange(min=0), metavar="N", help="Begin with the last N lines.")
@master_options
@json_option
def logs_command(wanted: str, *, follow: bool, lines: int | None, as_json: bool, **where: str | None) -> None:
    """Print what tasks and callbacks of a system wrote.

    ID is a system's id, or its beginning of four characters and more; for one task a colon and its number follow. The
    master keeps the last 16 KiB of a task and 16 MiB of all: what was written before is gone, and a line says so. Each
    line begins with the name of its task. With --follow and --json each line is one JSON object. After a restart of the
    master --follow goes on with what is written from then on; it fails when the new one does not know the system.
    """
    with interruptible(), asked_master(**where) as application:

        def ask(what: str, after: int) -> dict[str, Any]:
            answer: dict[str, Any] = ask_about(application, "logs", what, after)
            return answer

        try:
            _print(ask, wanted, follow=follow, lines=lines, as_json=as_json)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def _print(
    ask: Callable[[str, int], dict[str, Any]], wanted: str, *, follow: bool, lines: int | None, as_json: bool
) -> None:
    batches = batches_of(ask, wanted, time.sleep, follow=follow)
    system_id, first = next(batches)
    records = first if lines is None else first[len(first) - min(lines, len(first)) :]
    if as_json and not follow:
        print_json({"id": wanted, "system_id": system_id, "lines": records})
        return
    _show(records, system_id, as_json=as_json)
    for _, batch in batches:
        _show(batch, system_id, as_json=as_json)


def batches_of(
    ask: Callable[[str, int], dict[str, Any]], wanted: str, sleep: Callable[[float], None], *, follow: bool
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the id of a system with lines that it wrote, batch by batch.

    The first batch is all that is kept, and may be empty. A master that was restarted is read from its beginning,
    after a line that says so.

    Args:
        ask: Gives a page of what is wanted that begins after a position.
        wanted: Id of the system or the task, or the beginning of that; only the first question has a beginning, which
            means nothing any more once the system is forgotten, or another one begins alike.
        sleep: Waits for seconds [s].
        follow: Whether to go on until the system has ended.
    """
    position, ended = 0, False
    epoch: int | None = None
    while True:
        was_ended, batch, more = ended, [], True
        while more:
            page = ask(wanted, position)
            wanted = ":".join([page["system_id"], *wanted.split(":")[1:]])
            before, epoch = epoch, page.get("epoch")
            if before not in (None, epoch):
                position = 0  # that of the master before means nothing to this one
                batch.append({"task": None, "name": "master", "text": RESTARTED})
                continue
            position, more, ended = page["position"], page["more"], page["ended"]
            batch += [line for entry in page["entries"] for line in lines_of(*entry)]
        yield page["system_id"], batch
        # Once more after the end: what its host wrote last may come a little later.
        if not follow or (was_ended and not batch):
            return
        sleep(PERIOD)


def lines_of(number: int | None, name: str, text: str, gap: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - an entry
    """Return a piece of output as one record per line.

    Args:
        number: Of the task; None for the system's callbacks.
        name: Of the task; may be empty.
        text: What it wrote.
        gap: Whether what it wrote before is kept no more.
    """
    texts = text.splitlines()
    if gap:
        texts.insert(0, "... what was written before is kept no more")
    return [{"task": number, "name": name, "text": each} for each in texts]


def _show(records: list[dict[str, Any]], system_id: str, *, as_json: bool) -> None:
    for record in records:
        if as_json:
            click.echo(json.dumps({"version": JSON_VERSION, "system_id": system_id, **record}))
        else:
            name = visible(record["name"]) or f"task {record['task']}"
            click.echo(f"[{name}] {visible_output(record['text'])}")
