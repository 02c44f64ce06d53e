"""Where the task manager of a job is: found, started, connected to.

MasterProcess: given | configured or running | a LocalCluster of its own, with a note for slaves
SlaveProcess:  given | told by who launched it | the note of the job | configured or running
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from concurro import Config, ConfigError, MasterUnreachable, find_master
from concurro_tagqueue.assignment import assigned
from concurro_tagqueue.notes import find_note, is_noted, write_note
from concurro_tagqueue.surface import TaskManagerMethods
from concurro_tagqueue.task_manager import TaskManager

if TYPE_CHECKING:
    import contextlib

log = logging.getLogger(__name__)

DEFAULT_PORT = 8081
MASTER_MARK = "master process, "
"""What the process says first that asks for a job's tasks."""

PATIENCE = 30.0
"""How long calls wait for a master that is gone: with a journal it may come back [s]."""

OWN_PATIENCE = 1.0
"""The same for a master that was started for the job alone, and ends with it [s]."""

OWN_ANSWER_LIMIT = 5.0
"""How long such a master may take to answer [s]."""

FREE_PATIENCE = 10.0
"""How long the slaves of a job before may take to leave [s]."""

_LOOK_AGAIN = 0.1
_TELL_AFTER = 1.5


class LabelInUseError(ConfigError):
    """Another job with that label runs."""


def open_for_master(
    stack: contextlib.ExitStack, label: str, master: Any, config: Any
) -> tuple[TaskManagerMethods, str]:
    """Return the task manager of a job that begins, and its master.

    Args:
        stack: Closes what was opened.
        label: Label of the job.
        master: A task manager, the address of a master, or None: the master that is configured or
            runs on the default address, else one that is started here, and ends with the stack.
        config: What `Config.load` takes.

    Raises:
        LabelInUseError: Such a job runs already.
        MasterUnreachable: The master does not answer.
    """
    check_label(label)
    if isinstance(master, TaskManagerMethods):
        return master, ""
    settings = Config.load(config)
    url = address_of(master) if master else find_master(settings)
    if url is not None:
        _wait_until_free(url, label, settings)
        return _connect(stack, url, label, settings, essential=True), url
    note = find_note(label)
    if note is not None:
        message = (
            f"job {label!r} runs already, in process {note.pid}: end it, choose another label, "
            f"or join it: SlaveProcess({label!r})"
        )
        raise LabelInUseError(message)
    from concurro import LocalCluster  # noqa: PLC0415 - only who embeds pays for it

    own = Config.load(settings, overrides={"master.journal": ""})  # it ends with us: there is nothing to keep
    cluster = stack.enter_context(LocalCluster(workers=1, config=own))
    write_note(label, cluster.master_url)
    return _connect(stack, cluster.master_url, label, settings, essential=True), cluster.master_url


def open_for_slave(stack: contextlib.ExitStack, label: str, host: Any, config: Any) -> TaskManagerMethods:
    """Return the task manager of a job that runs, or begins soon.

    Args:
        stack: Closes what was opened.
        label: Label of the job.
        host: A task manager, the address of a master, or None: see `locate_job`.
        config: What `Config.load` takes; None for what the launcher of this process told.

    Raises:
        MasterUnreachable: There is no such job on this machine, and no master.
    """
    check_label(label)
    if isinstance(host, TaskManagerMethods):
        return host
    told = assigned()
    if config is None and told is not None:
        config = told.config
    settings = Config.load(config)
    if not host and told is not None and told.label == label:
        host = told.url
    url = address_of(host) if host else locate_job(label, settings)
    return _connect(stack, url, label, settings)


def locate_job(label: str, settings: Config, patience: float | None = None) -> str:
    """Return the address of the master where a job runs.

    That of a job with a master of its own on this machine, else the master that is configured or runs
    on the default address.

    Args:
        label: Label of the job.
        settings: The settings in force.
        patience: How long to wait for it [s]; None for `[application] connect_timeout`.

    Raises:
        MasterUnreachable: There is none.
    """
    patience = float(settings["application.connect_timeout"]) if patience is None else patience
    started, told = time.monotonic(), False
    while True:
        note = find_note(label)
        url = note.url if note is not None else find_master(settings)
        if url is not None:
            return url
        waited = time.monotonic() - started
        if waited >= patience:
            message = (
                f"no job {label!r} runs on this machine, and no master: start the job first, or name the master "
                f"where it runs, e.g. SlaveProcess({label!r}, 'tcp://HOST:{DEFAULT_PORT}')"
            )
            raise MasterUnreachable(message)
        if waited > _TELL_AFTER and not told:
            told = True
            log.warning("no job %r runs here yet; waiting %.0f s more", label, patience - waited)
        time.sleep(_LOOK_AGAIN)


def address_of(host: Any) -> str:
    """Return the address of a master: `HOST` and `HOST:PORT` are TCP.

    Raises:
        ConfigError: It is neither an address nor what has one.
    """
    if not isinstance(host, str):
        host = getattr(host, "master_url", None) or getattr(host, "url", None)
    if not isinstance(host, str):
        message = "a master is an address, a LocalCluster, an application, or a TaskManager of this process"
        raise ConfigError(message)
    if "://" in host:
        return host
    return f"tcp://{host}" if ":" in host else f"tcp://{host}:{DEFAULT_PORT}"


def check_label(label: object) -> None:
    """Refuse what cannot name a job.

    Raises:
        ConfigError: It is no text, or empty.
    """
    if not isinstance(label, str) or not label:
        message = f"the label of a job is a text, got {label!r}"
        raise ConfigError(message)


def _wait_until_free(url: str, label: str, settings: Config) -> None:
    """Return once no job of that label runs on a master.

    Raises:
        LabelInUseError: One does, or slaves of one that was ended do not leave.
    """
    deadline = time.monotonic() + FREE_PATIENCE
    while True:
        record = next((record for record in TaskManager.labels(url, config=settings) if record.label == label), None)
        if record is None:
            return
        masters = [told for told in record.processes.values() if told.startswith(MASTER_MARK)]
        if not record.terminated and not masters:
            return
        if masters:
            message = f"job {label!r} runs already at {url}: {masters[0]}; end it, or choose another label"
            raise LabelInUseError(message)
        if time.monotonic() > deadline:
            message = (
                f"job {label!r} at {url} has ended, but {len(record.processes)} of its slave processes have not: "
                f"{', '.join(record.processes.values()) or 'somebody is connected'}; wait, or choose another label"
            )
            raise LabelInUseError(message)
        time.sleep(_LOOK_AGAIN)


def _connect(
    stack: contextlib.ExitStack, url: str, label: str, settings: Config, *, essential: bool = False
) -> TaskManagerMethods:
    if not is_noted(url):
        manager = TaskManager.connect(url, label, patience=PATIENCE, config=settings, essential=essential)
        return stack.enter_context(manager)
    from concurro import ApplicationNode  # noqa: PLC0415 - a node that looks for its components needs none of it

    hasty = Config.load(settings, overrides={"application.connect_timeout": str(OWN_ANSWER_LIMIT)})
    application = stack.enter_context(ApplicationNode(url, config=hasty))
    return stack.enter_context(TaskManager.connect(application, label, patience=OWN_PATIENCE, essential=essential))
