"""The workloads: what each measures, and who runs it."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "concurro"


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing that is measured.

    Attributes:
        name: How the command line names it; `W1` stands for every `W1-...`.
        title: What it measures, in a line.
        contenders: Name to `module:function`; the function takes a `Setting` and returns
            metric name to value.
        metric: The metric that ratios compare.
        unit: Its unit.
        more_is_better: Whether a larger value of it wins.
    """

    name: str
    title: str
    contenders: dict[str, str]
    metric: str
    unit: str
    more_is_better: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """What a measurement may vary.

    Attributes:
        workers: Worker processes.
        count: Tasks; None for the workload's own number.
    """

    workers: int = 2
    count: int | None = None


WORKLOADS = (
    Workload(
        "W1-submit",
        "10 000 no-op tasks, each submitted by itself",
        {
            OURS: "benchmarks.many_tasks:submit_to_cluster",
            "ppe": "benchmarks.many_tasks:submit_to_ppe",
            "pool": "benchmarks.many_tasks:submit_to_pool",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W1-bulk",
        "200 000 no-op tasks through map",
        {
            OURS: "benchmarks.many_tasks:map_on_cluster",
            "ppe": "benchmarks.many_tasks:map_on_ppe",
            "pool": "benchmarks.many_tasks:map_on_pool",
            "loky": "benchmarks.many_tasks:map_on_loky",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W1-system",
        "200 000 no-op tasks of a task system that sees each finish",
        {
            OURS: "benchmarks.many_tasks:run_system",
            "ppe": "benchmarks.many_tasks:see_each_finish_on_ppe",
            "pool": "benchmarks.many_tasks:see_each_finish_on_pool",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W12-submit",
        "W1-submit with a journal, and without",
        {OURS: "benchmarks.many_tasks:submit_with_a_journal", "none": "benchmarks.many_tasks:submit_to_cluster"},
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W12-system",
        "W1-system with a journal, and without",
        {OURS: "benchmarks.many_tasks:run_system_with_a_journal", "none": "benchmarks.many_tasks:run_system"},
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "TCP-submit",
        "W1-submit on a master and a slave: over TCP with sessions and keys, and over AF_UNIX",
        {OURS: "benchmarks.many_tasks:submit_over_tcp", "concurro-unix": "benchmarks.many_tasks:submit_over_unix"},
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "TCP-system",
        "W1-system on a master and a slave: over TCP with sessions and keys, and over AF_UNIX",
        {
            OURS: "benchmarks.many_tasks:run_system_over_tcp",
            "concurro-unix": "benchmarks.many_tasks:run_system_over_unix",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W2",
        "500 times: submit one task, wait for its result",
        {
            OURS: "benchmarks.round_trips:on_cluster",
            "concurro-tcp": "benchmarks.round_trips:over_tcp",
            "ppe": "benchmarks.round_trips:on_ppe",
            "pool": "benchmarks.round_trips:on_pool",
        },
        "p50",
        "us",
        more_is_better=False,
    ),
    Workload(
        "W5",
        "reverse MD5 in 128 jobs, from init_system to the answer",
        {
            OURS: "benchmarks.reverse_md5:on_cluster",
            "ppe": "benchmarks.reverse_md5:on_ppe",
            "fork": "benchmarks.reverse_md5:on_bare_fork",
        },
        "seconds",
        "s",
        more_is_better=False,
    ),
    Workload(
        "W9",
        "from an empty process to the first result, interpreter and imports included",
        {
            OURS: "benchmarks.first_result:from_cluster",
            "ppe": "benchmarks.first_result:from_ppe",
            "bare": "benchmarks.first_result:from_bare_interpreter",
        },
        "seconds",
        "s",
        more_is_better=False,
    ),
    Workload(
        "W10-slaves",
        "the scheduler core alone, a million tasks of 1 ms: 10 slaves of 8 workers, and more",
        {
            OURS: "benchmarks.decisions:with_10_slaves",
            "concurro-100": "benchmarks.decisions:with_100_slaves",
            "concurro-1000": "benchmarks.decisions:with_1000_slaves",
            "concurro-10000": "benchmarks.decisions:with_10000_slaves",
        },
        "rate",
        "1/s",
        more_is_better=True,
    ),
    Workload(
        "W10-long",
        "the same with tasks of 1 s, none of which is sent ahead",
        {
            OURS: "benchmarks.decisions:long_with_10_slaves",
            "concurro-100": "benchmarks.decisions:long_with_100_slaves",
            "concurro-1000": "benchmarks.decisions:long_with_1000_slaves",
            "concurro-10000": "benchmarks.decisions:long_with_10000_slaves",
        },
        "rate",
        "1/s",
        more_is_better=True,
    ),
    Workload(
        "W10-kinds",
        "the scheduler core alone, 200 000 tasks, 100 slaves: one kind, 1 000 priorities, 1 000 systems",
        {
            OURS: "benchmarks.decisions:plain",
            "concurro-priorities": "benchmarks.decisions:with_many_priorities",
            "concurro-systems": "benchmarks.decisions:with_many_systems",
        },
        "rate",
        "1/s",
        more_is_better=True,
    ),
    Workload(
        "W10-requires",
        "the scheduler core alone, 200 000 tasks with requirements, 100 slaves: one, and 1 000 distinct",
        {
            OURS: "benchmarks.decisions:with_one_requirement",
            "concurro-1000": "benchmarks.decisions:with_many_requirements",
        },
        "rate",
        "1/s",
        more_is_better=True,
    ),
    Workload(
        "W13-last",
        "5 000 tasks of 10 us, then 8 of 1 s, all of one class: part of the best makespan",
        {OURS: "benchmarks.mixed:long_last", "fork": "benchmarks.mixed:fork_long_last"},
        "efficiency",
        "of best",
        more_is_better=True,
    ),
    Workload(
        "W13-first",
        "the same, the long ones first",
        {OURS: "benchmarks.mixed:long_first", "fork": "benchmarks.mixed:fork_long_first"},
        "efficiency",
        "of best",
        more_is_better=True,
    ),
    Workload(
        "W13-random",
        "the same in a random order",
        {OURS: "benchmarks.mixed:shuffled", "fork": "benchmarks.mixed:fork_shuffled"},
        "efficiency",
        "of best",
        more_is_better=True,
    ),
    Workload(
        "lazy",
        "ten million tasks from a generator: memory of every process while they run",
        {OURS: "benchmarks.lazy_tasks:on_cluster"},
        "growth",
        "MiB",
        more_is_better=False,
    ),
)


def select(names: list[str]) -> list[Workload]:
    """Return the workloads of these names; no names are all.

    Raises:
        LookupError: A name that no workload has.
    """
    if not names:
        return list(WORKLOADS)
    selected = []
    for name in names:
        found = [workload for workload in WORKLOADS if workload.name == name or workload.name.startswith(f"{name}-")]
        if not found:
            message = f"no workload {name!r}; there are {', '.join(workload.name for workload in WORKLOADS)}"
            raise LookupError(message)
        selected += found
    return selected
