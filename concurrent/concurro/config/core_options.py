"""The options of the core's tables: the one place where they are declared.

The option reference, `concurrent config show` and `concurrent config init` are made
from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from concurro.config.options import (
    AddressOption,
    BoolOption,
    DurationOption,
    IntOption,
    ListOption,
    Option,
    PathOption,
    SizeOption,
    StrOption,
    TableOption,
    options_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

COMPONENTS_TABLE: Final = "components"


class MasterTable:
    """The master: where it listens and who decides."""

    listen = AddressOption(
        "tcp://127.0.0.1:8081",
        "Where the master listens; ipc://path for one machine. Another interface than loopback needs keys.",
    )
    scheduler = StrOption("rated", "The ITaskScheduler that decides which task runs where.")
    strategy = StrOption("least-loaded", "The ITaskScheduleStrategy that rates slaves.")
    standalone = BoolOption(default=False, documentation="Whether the master runs tasks itself as well.")
    journal = PathOption("", "A folder; with it, systems survive a restart of the master.")
    services = ListOption([], "The IMasterService components that are built at the start, not at their first use.")
    report_tasks = IntOption(
        4096, "So many tasks of each system are kept for `concurrent report`; 0 for no report.", minimum=0
    )
    grace = DurationOption(60.0, "How long a system outlives its application, unless it is detached [s].")


class SlaveTable:
    """A slave: its master, its workers and what it offers."""

    master = AddressOption("tcp://127.0.0.1:8081", "The master that the slave works for.")
    connect_timeout = DurationOption(30.0, "How long to wait for the master at the start; 0 for ever [s].")
    drain_timeout = DurationOption(30.0, "How long running tasks may go on after SIGTERM [s].")
    task_manager = StrOption("process-pool", "The ITaskManager that runs tasks.")
    workers = IntOption(0, "How many tasks run at once; 0 for one per usable processor.", minimum=0)
    resources = TableOption({}, "What tasks may require, by name, e.g. { gpu = 1 }.")
    memory_limit = SizeOption(
        "", "Memory of a worker and the processes below it, beyond which its task is killed; empty for no limit."
    )


class ApplicationTable:
    """An application: its master and the code that travels."""

    master = AddressOption("", "The master to use; empty for an embedded local cluster.", optional=True)
    ship = ListOption([], "Modules or folders that travel with the code.")
    connect_timeout = DurationOption(15.0, "How long to wait for a master to answer [s].")
    output = BoolOption(
        default=True,
        documentation="Whether output of tasks and systems appears on the application's stdout and stderr.",
    )
    straight = BoolOption(
        default=True,
        documentation="Whether a program speaks to services in workers of its machine past the master; "
        "tasks, services and callbacks do in any case.",
    )
    save_failed = PathOption(
        "",
        "A folder where the first failed tasks are saved for `concurrent replay`; for systems, beside the master.",
    )


class SecurityTable:
    """Who may connect."""

    keys = PathOption(
        "",
        "For a master a folder made by `concurrent keys init`; for everything else its key file, or a folder with it. "
        "Empty: keys that a master on loopback makes for its own user.",
    )
    connections = IntOption(
        4096, "Most TCP connections of a master at once; a quarter of them may be without a key.", minimum=8
    )


class ComponentsTable:
    """Which components are enabled: globs on `module.Class`, true or false.

    The most specific glob wins. Built-in components, plugins of this distribution and files
    in `plugins/` are on by default, those of other distributions are off.
    """


CORE_TABLE_CLASSES: Final[Mapping[str, type]] = {
    COMPONENTS_TABLE: ComponentsTable,
    "master": MasterTable,
    "slave": SlaveTable,
    "application": ApplicationTable,
    "security": SecurityTable,
}

CORE_TABLES: Final[Mapping[str, Mapping[str, Option[Any]]]] = {
    table: options_of(declaration) for table, declaration in CORE_TABLE_CLASSES.items()
}
