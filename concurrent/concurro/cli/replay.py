"""`concurrent replay`: run a failed attempt again, in this process.

file --> checked --> class, arguments, code as in a worker --> call --> debugger, or traceback
"""

from __future__ import annotations

import faulthandler
import sys
import traceback
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concurro.cli.outcomes import EXIT_FAILED, CommandFailure, without_our_frames
from concurro.cli.printing import examples
from concurro.errors import SavedAttemptError
from concurro.execution.inside import Wall, behind
from concurro.execution.task_runner import TaskRunner
from concurro.ids import parse_task_id
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.saved_attempt import SavedAttempt, read_attempt

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_NO_CLUSTER = Wall("a replayed task has no cluster: current_application() has nobody to ask")
_SYSTEM = 0


@click.command("replay", epilog=examples("concurrent replay failed/divide.task"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--no-debugger", is_flag=True, help="Print the traceback, in a terminal too.")
def replay_command(file: Path, *, no_debugger: bool) -> None:
    """Run a saved task again, in this process.

    FILE is what `TaskError.save` or `save_task` of a future wrote. It holds code, which is run:
    replay only files that you trust. In a terminal an exception enters the debugger where it was
    raised. Ends with 0 and the result on standard output when the task does not
    fail here, with 1 when it does.
    """
    blobs = BlobStore()
    try:
        saved = read_attempt(file, blobs)
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise CommandFailure(message) from error
    except SavedAttemptError as error:
        raise CommandFailure(str(error)) from error
    _introduce(saved, file)
    runner = TaskRunner(saved.slave_id, blobs)
    task = _load(saved, runner)
    with behind(_NO_CLUSTER):
        try:
            result = _attempt(task, runner)
        except BaseException as error:  # noqa: BLE001 - a task may raise anything, exits and interrupts included
            _show(error, debug=not no_debugger and sys.stdin.isatty())
            raise click.exceptions.Exit(EXIT_FAILED) from None
    click.echo("the task did not fail here; its result:", err=True)
    click.echo(repr(result))


def _introduce(saved: SavedAttempt, file: Path) -> None:
    """Say what is about to run, and what happened to it before."""

    def say(text: str) -> None:
        click.echo(text, err=True)

    where = f" on slave {saved.slave_id}" if saved.slave_id else ""
    say(f"task {saved.name!r} ({saved.class_name}), {saved.task_id}, attempt {saved.attempt}{where}")
    say(f"it ended with {saved.type_name}: {saved.message}")
    say(f"This runs the code in {file} as you: replay only files that you trust.")
    if saved.type_name == "WorkerLost":
        faulthandler.enable()
        command = f"{sys.executable} {sys.argv[0]} replay --no-debugger {file}"
        say(
            "Its worker died, and so may this process. If it dies in native code, run it under a native debugger:\n"
            f"    gdb -ex run --args {command}"
        )
    elif saved.type_name == "TaskTimeout":
        say("Here it has no time limit: Ctrl-C interrupts it.")
    sys.stderr.flush()


def _load(saved: SavedAttempt, runner: TaskRunner) -> Task:
    """Load the task with its class, by the worker's own code."""
    system_id, number = parse_task_id(saved.task_id)
    runner.announce([_SYSTEM, 0, saved.class_name, saved.class_payload, saved.class_blobs, system_id])
    task = runner.load([0, _SYSTEM, 0, number, saved.attempt, saved.payload, saved.blobs])
    if isinstance(task, Task):
        return task
    _, failure, _ = task
    type_name, message, text = failure[:3]
    click.echo(without_our_frames(text), err=True)
    message = f"the task cannot be loaded here: {type_name}: {message}"
    raise CommandFailure(message, EXIT_FAILED)


def _attempt(task: Task, runner: TaskRunner) -> Any:
    """Do what a worker does with a task, exceptions included."""
    runner.task = task
    try:
        with redirect_stdout(sys.stderr):
            result = task()
    except BaseException:
        with suppress(BaseException):  # as in a worker, where the first error is the one that counts
            task.clean_up()
        raise
    task.clean_up()
    runner.packer.dumps(result, None, "result")
    return result


def _show(error: BaseException, *, debug: bool) -> None:
    """Print a traceback from the task's own frame on; enter the debugger."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__") == __name__:
        frames = frames.tb_next
    frames = frames or error.__traceback__
    traceback.print_exception(type(error), error, frames)
    if debug:
        import pdb  # noqa: PLC0415, T100 - only for who asks

        pdb.post_mortem(frames)
