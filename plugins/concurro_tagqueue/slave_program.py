"""The program of a launched slave process: the job's script again.

launcher, or `concurrent tags slave` --> main: fetch the script from the task manager
                                         --> run it as __main__: its runJob is a slave there
"""

from __future__ import annotations

import contextlib
import json
import linecache
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concurro import ConcurroError
from concurro_tagqueue.assignment import Assignment, assign, share_script
from concurro_tagqueue.errors import TaskManagerTermination
from concurro_tagqueue.places import open_for_slave

if TYPE_CHECKING:
    from concurro_tagqueue.surface import TaskManagerMethods

log = logging.getLogger(__name__)

PROGRAM_LABEL = "slave_program"
"""The data item with the script: code, file, arguments, working directory."""

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the script of a job as its slave.

    Arguments: the assignment as JSON; `watched` to end with standard input.
    """
    assignment = Assignment(*json.loads(sys.argv[1]))
    if sys.argv[2:] == ["watched"]:
        _end_with_input()
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        program = _fetch(assignment)
        if program is not None:
            run_script(program, assignment)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except ConcurroError as error:
        log.error("this slave process of job %r ends: %s", assignment.label, error)  # noqa: TRY400 - the text says it
        sys.exit(EXIT_FAILED)


def store_script(manager: TaskManagerMethods, file: Path, arguments: list[str]) -> str:
    """Let slaves be started for a job; return their script's text.

    Args:
        manager: The job's task manager.
        file: The script.
        arguments: Its arguments.

    Raises:
        OSError: It cannot be read.
    """
    code = file.read_text(encoding="utf-8")
    program = {
        "code": code,
        "file": str(file.resolve()),
        "arguments": arguments,
        "folder": str(Path.cwd()),
    }
    manager.store_data(**{PROGRAM_LABEL: program})
    return code


def run_script(program: dict[str, Any], assignment: Assignment) -> None:
    """Run a script as `__main__`, in the folder where it was run first."""
    file = Path(program["file"])
    with contextlib.suppress(OSError):  # another machine has no such folder
        os.chdir(program["folder"])
    sys.argv[:] = [program["file"], *program["arguments"]]
    if file.parent.is_dir():
        sys.path.insert(0, str(file.parent))
    code = program["code"]
    if not file.is_file():  # for tracebacks
        linecache.cache[str(file)] = (len(code), None, code.splitlines(keepends=True), str(file))
    namespace = vars(sys.modules["__main__"])
    namespace["__file__"] = str(file)
    assign(assignment)
    share_script(code)
    exec(compile(code, str(file), "exec"), namespace)  # noqa: S102 - what the job's own process stored


def _fetch(assignment: Assignment) -> dict[str, Any] | None:
    """Return the script; None when the job has ended before."""
    with contextlib.ExitStack() as stack:
        manager = open_for_slave(stack, assignment.label, assignment.url, assignment.config)
        try:
            program: dict[str, Any] = manager.retrieve_data(PROGRAM_LABEL)
        except TaskManagerTermination:
            return None
    return program


def _end_with_input() -> None:
    """Kill this process and what it started, once who launched it is gone."""
    way = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # whoever reads standard input here must not take our news
    os.close(nothing)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(way, 4096):
                continue
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, name="concurro-parent", daemon=True).start()
