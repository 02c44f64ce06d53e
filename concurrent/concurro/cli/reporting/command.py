"""`concurrent report`: a page, or a trace, of a system of a master."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from concurro.cli.asking import asked_master, master_options
from concurro.cli.outcomes import CommandFailure
from concurro.cli.places import STANDARD_OUTPUT, check_places
from concurro.cli.printing import examples, json_option, print_json
from concurro.cli.reporting.files import ask_course, write_files
from concurro.cli.reporting.page import efficiency

if TYPE_CHECKING:
    from concurro.cli.reporting.course import Course

USUAL_PAGE = "report.html"


@click.command(
    "report",
    epilog=examples(
        "concurrent report 3f9c -o report.html",
        "concurrent report 3f9c --trace trace.json --master tcp://server:8081",
    ),
)
@click.argument("wanted", metavar="SYSTEM_ID")
@click.option("-o", "--output", "page", metavar="FILE", help="The page; - for standard output. [default: report.html]")
@click.option(
    "--trace", metavar="FILE", help="A trace for ui.perfetto.dev or chrome://tracing; alone, no page is made."
)
@master_options
@json_option
def report_command(  # noqa: PLR0913 - the options of the command
    wanted: str, page: str | None, trace: str | None, master: str | None, keys: str | None, config: str | None,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Write a page about the course of a system.

    SYSTEM_ID is its id, or its beginning of four characters and more. The system runs, or ended not too long ago: a
    master keeps up to [master] report_tasks tasks of each, one in so many when there were more.

    Without --output, --trace and --json it becomes report.html in this folder, and replaces one that is there.

    The page is one file that needs no network: what each worker did when, durations, waiting, transfers, slaves and
    their ratings, failures, and how far from the ideal it was. With --json the figures are printed, and nothing is
    written unless a file is named.
    """
    if page is None and trace is None and not as_json:
        page = USUAL_PAGE
    check_places(page, trace)
    if ":" in wanted:
        message = f"report takes a system, not a task: concurrent report {wanted.partition(':')[0]}"
        raise CommandFailure(message)
    with asked_master(master, keys, config) as application:
        course = ask_course(application, wanted)
    write_files(course, page, trace)
    if as_json:
        print_json(figures(course))
    for file in (page, trace):
        if file not in (None, STANDARD_OUTPUT):
            click.echo(f"{course.name} {course.system_id}: {file}", err=True)


def figures(course: Course) -> dict[str, object]:
    """Return the figures of a course as `--json` prints them, times in [s]."""
    return {
        "system_id": course.system_id,
        "name": course.name,
        "state": course.state,
        "counts": course.counts,
        "submitted": course.wall,
        "span": course.span,
        "work": course.work,
        "workers": course.workers,
        "efficiency": efficiency(course),
        "failed_attempts": course.failed,
        "slaves": [slave._asdict() for slave in course.slaves],
    }
