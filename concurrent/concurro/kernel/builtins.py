"""The components that come with Concurrent, named without importing them.

A cluster on one machine starts in a fraction of a second: only what is chosen is
imported. A test compares this table with the classes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from concurro.interfaces import ITaskManager, ITaskScheduler, ITaskScheduleStrategy


class BuiltIn(NamedTuple):
    """One built-in component.

    Attributes:
        interface: What it implements.
        name: How a file names it.
        location: `module:Class`.
        kinds: Its `offered_on`.
    """

    interface: type[Any]
    name: str
    location: str
    kinds: tuple[str, ...] = ()


BUILT_INS: Final = (
    BuiltIn(ITaskScheduler, "rated", "concurro.scheduling.rated:RatedScheduler"),
    BuiltIn(ITaskScheduleStrategy, "least-loaded", "concurro.scheduling.strategies:LeastLoaded"),
    BuiltIn(ITaskScheduleStrategy, "round-robin", "concurro.scheduling.strategies:RoundRobin"),
    BuiltIn(ITaskScheduleStrategy, "throughput", "concurro.scheduling.throughput:Throughput"),
    BuiltIn(ITaskScheduleStrategy, "two-choices", "concurro.scheduling.strategies:TwoChoices"),
    BuiltIn(ITaskScheduleStrategy, "locality", "concurro.scheduling.locality:Locality"),
    BuiltIn(ITaskManager, "process-pool", "concurro.execution.process_pool:ProcessPool"),
    BuiltIn(ITaskManager, "thread-pool", "concurro.execution.thread_pool:ThreadPool"),
    BuiltIn(ITaskManager, "inline", "concurro.execution.inline:InlineTasks"),
)
