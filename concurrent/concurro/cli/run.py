"""`concurrent run` and `concurrent submit`.

A task system from a file or by name.

load --> fill parameters --> open a cluster or dial --> submit --> wait --> print
Ctrl-C: cancel --> wait for what was gathered --> print --> 130
"""

from __future__ import annotations

import concurrent.futures
import sys
import time
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.interruption import interruptible
from concurro.cli.loading import find_system
from concurro.cli.outcomes import EXIT_FAILED, EXIT_INTERRUPTED, CommandFailure
from concurro.cli.parameters import build_system
from concurro.cli.places import STANDARD_OUTPUT, check_places
from concurro.cli.printing import examples, json_option
from concurro.cli.report import Report, print_detached, print_report
from concurro.config import Config
from concurro.config.configuration import DEFAULT_ORIGIN
from concurro.errors import ConcurroError
from concurro.ids import Role
from concurro.kernel import Environment
from concurro.nodes.noted import with_noted_master

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.nodes.application import ApplicationNode
    from concurro.nodes.cluster import LocalCluster
    from concurro.nodes.handle import SystemHandle

CANCEL_LIMIT = 10.0
"""How long a cancelled job may take to gather what it has [s]."""

REPORTED_TASKS = "100000"
"""So many tasks a master of our own keeps for a report that was asked for."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What somebody asked for on the command line.

    Attributes:
        target: `FILE[:CLASS]` or `NAME`.
        parameters: `NAME=VALUE`, as typed.
        master: Address; None for the configuration's.
        workers: Of the embedded cluster; None for the configuration's.
        detach: Whether to leave after the submission.
        inline: Whether to do everything in this process.
        as_json: Whether to print JSON.
        config: File or folder; None to search.
        keys: Key file or folder; None for the configuration's.
        plugins: Files and folders with components.
        strict_plugins: Whether a broken plugin is fatal.
        timeout: Seconds after which the job is cancelled [s]; None for none.
        progress: Whether to show progress.
        report: File for a page about its course; None for none.
        trace: File for a trace of its course; None for none.
    """

    target: str
    parameters: tuple[str, ...] = ()
    master: str | None = None
    workers: int | None = None
    detach: bool = False
    inline: bool = False
    as_json: bool = False
    config: str | None = None
    keys: str | None = None
    plugins: tuple[str, ...] = ()
    strict_plugins: bool = False
    timeout: float | None = None
    progress: bool = True
    report: str | None = None
    trace: str | None = None

    @property
    def is_reported(self) -> bool:
        """Whether its course is to be written."""
        return self.report is not None or self.trace is not None


def _common_options(function: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.argument("target", metavar="FILE[:CLASS]|NAME"),
        click.option(
            "-p", "--parameter", "parameters", metavar="NAME=VALUE", multiple=True,
            help="Set a parameter of the task system; may be repeated.",
        ),
        click.option("--master", metavar="URL", help="A master: tcp://HOST:PORT or ipc://PATH; else as configured."),
        click.option("--keys", metavar="PATH", help="Your key file, or the folder that holds it."),
        click.option("--config", metavar="PATH", help="A concurrent.toml, or the folder that holds it."),
        click.option("--plugins", metavar="PATH", multiple=True, help="File or folder with components; repeatable."),
        click.option("--strict-plugins", is_flag=True, help="A broken plugin is an error."),
        json_option,
    ]  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    "run",
    epilog=examples(
        "concurrent run job.py -p n=100 --workers 4", "concurrent run job.py:Sum --master tcp://server:8081"
    ),
)
@_common_options
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Workers without a master; else one per usable processor.",
)
@click.option("--detach", is_flag=True, help="Leave after the submission; the job goes on at the master.")
@click.option("--inline", is_flag=True, help="Do everything in this process and thread: for debuggers.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Cancel the job after S seconds."
)
@click.option("--report", metavar="FILE", help="Write a page about the course of the job; see concurrent report.")
@click.option("--trace", metavar="FILE", help="Write a trace of it, for ui.perfetto.dev or chrome://tracing.")
@click.option("--no-progress", "progress", flag_value=False, default=True, help="Do not show progress.")
def run_command(**options: Any) -> None:
    """Run a task system and print its result.

    The result goes to standard output, everything else to standard error: progress, and what
    tasks and the system print, marked with their names. Without a master the job runs on a
    cluster of this machine that lives as long as the command; with one the last line has the
    system's id, for concurrent logs and report.

    Exit codes: 0 done, 1 the job failed, 2 usage or configuration, 3 no master or refused,
    130 interrupted.
    """
    execute(RunRequest(**options))


@click.command("submit", epilog=examples("concurrent submit job.py -p n=100 --master tcp://server:8081"))
@_common_options
def submit_command(**options: Any) -> None:
    """Submit a task system to a master and leave; print its id."""
    execute(RunRequest(**options, detach=True), dial=True)


def execute(request: RunRequest, *, dial: bool = False) -> None:
    """Do what was asked.

    Args:
        request: What was asked.
        dial: Whether a master is dialled even if none was named.

    Raises:
        CommandFailure: It cannot be done.
        click.exceptions.Exit: With the exit code, when that is not 0.
    """
    # Standard output belongs to the result, whatever the file, its tasks and callbacks print.
    with interruptible(), redirect_stdout(sys.stderr):
        overrides = {"application.master": request.master, "security.keys": request.keys}
        config = Config.load(request.config, overrides=overrides)
        if request.is_reported and config.origin("master.report_tasks") == DEFAULT_ORIGIN:
            config = Config.load(config, overrides={"master.report_tasks": REPORTED_TASKS})
        master = _master_of(request, config, dial=dial)
        _check(request, master)
        if request.is_reported:
            check_places(request.report, request.trace)
        environment = Environment(config, plugins=request.plugins, strict_plugins=request.strict_plugins)
        found = find_system(request.target, environment)
        system = build_system(found.system_class, request.parameters, found.defaults)
        request = replace(request, master=master)
        with _opened(request, environment.config, found.main_file) as cluster:
            started = time.monotonic()
            handle = cluster.submit(system, detach=request.detach)
            report = None if request.detach else _follow(handle, request, started)
            if request.is_reported:
                _write_report(cluster, handle.system_id, request)
    if report is None:
        print_detached(handle.system_id, master, as_json=request.as_json, keys=request.keys)
        return
    print_report(report, as_json=request.as_json, tell_id=bool(master) and not request.inline)
    if report.exit_code:
        raise click.exceptions.Exit(report.exit_code)


def _master_of(request: RunRequest, config: Config, *, dial: bool) -> str:
    """Return the master to dial; empty for a cluster of our own.

    Raises:
        CommandFailure: A key was given, and nothing says for which master.
    """
    master = str(config["application.master"] or "")
    if master or request.inline or not (dial or request.keys):
        return master
    noted = with_noted_master(config, Role.APPLICATION)
    if not dial and noted.origin("slave.master") == DEFAULT_ORIGIN:
        message = (
            f"--keys {request.keys} is for a master, and none is named: give --master URL, or set [application] "
            "master. A key file notes it that was made with: concurrent keys add application NAME --master URL"
        )
        raise CommandFailure(message)
    return str(noted["slave.master"])


def _check(request: RunRequest, master: str) -> None:
    if request.detach and not master:
        message = "--detach needs a master that goes on: give --master URL, or set [application] master"
        raise CommandFailure(message)
    if request.inline and request.master:
        message = "--inline does everything here; it cannot be combined with --master"
        raise CommandFailure(message)
    if request.inline and request.keys:
        message = "--inline does everything here; it cannot be combined with --keys"
        raise CommandFailure(message)
    if request.inline and request.detach:
        message = "--inline does everything here; it cannot be combined with --detach"
        raise CommandFailure(message)
    if request.is_reported and (request.inline or request.detach):
        what = "--inline has no master that keeps it" if request.inline else "later: concurrent report SYSTEM_ID"
        message = f"--report and --trace tell of the course of a job that is over here; {what}"
        raise CommandFailure(message)
    if STANDARD_OUTPUT in (request.report, request.trace):
        message = "standard output belongs to the result; name a file for --report and --trace"
        raise CommandFailure(message)
    if request.workers is not None and master and not request.inline:
        message = f"--workers is for the embedded cluster; the master at {master} has slaves of its own"
        raise CommandFailure(message)


def _write_report(cluster: ApplicationNode | LocalCluster, system_id: str, request: RunRequest) -> None:
    """Write what was asked for; the result is printed whatever happens to it."""
    from concurro.cli.reporting.files import ask_course, write_files  # noqa: PLC0415 - few runs have a report

    application = getattr(cluster, "application", cluster)
    try:
        write_files(ask_course(application, system_id), request.report, request.trace)
    except (CommandFailure, ConcurroError, TimeoutError) as error:
        click.echo(f"there is no report: {error}", err=True)
    except Exception as error:  # noqa: BLE001 - a defect of a report must not cost the result of a job that ran
        click.echo(f"there is no report, it could not be made: {type(error).__name__}: {error}", err=True)


@contextmanager
def _opened(request: RunRequest, config: Config, main_file: str | None) -> Iterator[ApplicationNode | LocalCluster]:
    """Give what the system is submitted to; close it afterwards."""
    if request.master and not request.inline:
        from concurro.nodes.application import ApplicationNode  # noqa: PLC0415 - one of the two is enough

        with ApplicationNode(request.master, config=config, main_file=main_file) as application:
            yield application
        return
    from concurro.nodes.cluster import LocalCluster  # noqa: PLC0415 - one of the two is enough

    with LocalCluster(
        request.workers, config=config, plugins=request.plugins, inline=request.inline, main_file=main_file
    ) as cluster:
        yield cluster


def _follow(handle: SystemHandle, request: RunRequest, started: float) -> Report:
    """Wait for the end of a system, whatever ends it."""
    late = False
    interrupted = False
    try:
        with ExitStack() as stack:
            stack.enter_context(_progress(handle, shown=request.progress))
            late = not _wait(handle, request.timeout)
    except KeyboardInterrupt:
        interrupted = True
        click.echo("interrupted: cancelling the job; once more kills it", err=True)
    if late or interrupted:
        handle.cancel()
        _wait(handle, CANCEL_LIMIT)
    elapsed = time.monotonic() - started
    report = Report.of(handle, elapsed)
    if interrupted:
        return replace(report, exit_code=EXIT_INTERRUPTED)
    if late:
        message = f"the job did not end within {request.timeout:g} s and was cancelled"
        return replace(report, exit_code=EXIT_FAILED, failure=message, failure_type="TimeoutError")
    return report


def _progress(handle: SystemHandle, *, shown: bool) -> Any:
    if not shown:
        return nullcontext()
    from concurro.nodes.display import live_progress  # noqa: PLC0415 - only who looks pays for it

    return live_progress(handle)


def _wait(handle: SystemHandle, timeout: float | None) -> bool:
    """Wait for the end; return whether it came."""
    done, _ = concurrent.futures.wait([handle], timeout)
    return bool(done)
