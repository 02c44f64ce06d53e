"""The workloads: what each measures, and who runs it."""

from __future__ import annotations

from benchmarks.workload import OURS, Workload

TCP = "concurro-tcp"
UNIX = "concurro-unix"


def _with_pools(function: str, *names: str) -> dict[str, str]:
    """Return contenders that run one function of ours on pools of these names."""
    return {name: f"benchmarks.{function} {name}" for name in names}


DEFAULTS = ("output", "state", "checks")
RATE_LIMITS = {
    "unix-4-hops": "benchmarks.limits:unix_rate",
    "unix-4-hops-in-hundreds": "benchmarks.limits:unix_rate_in_hundreds",
    "tcp-6-hops": "benchmarks.limits:tcp_rate",
    "tcp-6-hops-in-hundreds": "benchmarks.limits:tcp_rate_in_hundreds",
}
TRIP_LIMITS = {
    "pipe": "benchmarks.limits:pipe_trips",
    "unix-4-hops": "benchmarks.limits:unix_trips",
    "tcp-6-hops": "benchmarks.limits:tcp_trips",
    "tcp-6-hops-no-keys": "benchmarks.limits:tcp_trips_without_keys",
}


def _memory_limits(size: str) -> dict[str, str]:
    """Return the limits of moving arrays of a size."""
    ways = {"copy": "copy", "fresh-pages": "fresh", "reused-pages": "reused", "tcp-echo": "tcp"}
    return {name: f"benchmarks.memory_limits:{size}_{way}" for name, way in ways.items()}


def _middling(size: str, way: str) -> Workload:
    """Return a workload of values below 1 MiB."""
    name, function = size.replace(" ", ""), f"{way}_of_{size.replace(' ', '_').lower()}"
    return Workload(
        f"W3-{name}-{way}",
        f"float64 arrays of {size} as {way} of tasks, each array another one",
        _with_pools(f"middling:{function}", OURS, TCP, "ppe", "pool", "loky"),
        "rate",
        "arrays/s",
        more_is_better=True,
    )


WORKLOADS = (
    Workload(
        "W1-submit",
        "10 000 no-op tasks, each submitted by itself, from first submit to last result; slow peers: 2 000",
        {
            **_with_pools("many_tasks:submit", OURS, TCP, "ppe", "pool", "loky"),
            **_with_pools("many_tasks:submit_fewer", "ray", "dask", "parsl", "ipyparallel"),
            **RATE_LIMITS,
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W1-bulk",
        "200 000 no-op tasks through map, in chunks",
        {
            **_with_pools("many_tasks:bulk", OURS, TCP, "ppe", "pool", "loky", "joblib"),
            **_with_pools("many_tasks:bulk", "ray", "dask", "parsl", "ipyparallel"),
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W1-system",
        "200 000 no-op tasks of a task system that sees each finish, from `run` to its return; slow peers: 2 000",
        {
            **_with_pools("many_tasks:run_system", OURS, TCP),
            **_with_pools("many_tasks:see_each_finish_longer", "pool"),
            **_with_pools("many_tasks:see_each_finish", "ppe", "loky", "joblib"),
            **_with_pools("many_tasks:see_fewer_finish", "ray", "dask", "parsl", "ipyparallel"),
            **RATE_LIMITS,
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W2",
        "one task at a time: submit, wait for the result",
        {
            **_with_pools("round_trips:ask", OURS, TCP, "ppe", "pool", "loky", "ray", "dask", "parsl", "ipyparallel"),
            **TRIP_LIMITS,
        },
        "p50",
        "us",
        more_is_better=False,
    ),
    Workload(
        "W3-1MiB",
        "echo 100 float64 arrays of 1 MiB",
        {
            **_with_pools("echoes:small", OURS, TCP, "ppe", "pool", "loky", "ray", "dask", "parsl", "ipyparallel"),
            **_memory_limits("small"),
        },
        "rate",
        "MiB/s",
        more_is_better=True,
    ),
    Workload(
        "W3-64MiB",
        "echo 8 float64 arrays of 64 MiB",
        {
            **_with_pools("echoes:large", OURS, TCP, "ppe", "pool", "loky", "ray", "dask", "parsl", "ipyparallel"),
            **_memory_limits("large"),
        },
        "rate",
        "MiB/s",
        more_is_better=True,
    ),
    _middling("80 kB", "arguments"),
    _middling("80 kB", "results"),
    _middling("400 kB", "arguments"),
    _middling("400 kB", "results"),
    Workload(
        "W4",
        "1 000 tasks that read one array of 10 MB, which the application has: by a system, by submit, by a closure",
        {
            **_with_pools("shared_array:read_in_system", OURS, TCP),
            "concurro-submit": "benchmarks.shared_array:read concurro",
            "concurro-submit-tcp": "benchmarks.shared_array:read concurro-tcp",
            "concurro-closure": "benchmarks.shared_array:read_by_closure concurro",
            "concurro-closure-tcp": "benchmarks.shared_array:read_by_closure concurro-tcp",
            **_with_pools("shared_array:read", "ppe", "pool", "loky", "joblib", "ray", "dask", "parsl", "ipyparallel"),
        },
        "seconds",
        "s",
        more_is_better=False,
    ),
    Workload(
        "W5",
        "reverse MD5 in 128 jobs, from init_system (peers: the first submit) to the answer",
        {
            **_with_pools("reverse_md5:run_system", OURS, TCP),
            **_with_pools("reverse_md5:submit", "ppe", "pool", "loky", "joblib", "ray", "dask", "parsl", "ipyparallel"),
            "fork": "benchmarks.reverse_md5:on_bare_fork",
        },
        "seconds",
        "s",
        more_is_better=False,
    ),
    Workload(
        "W6",
        "2 000 tasks that spin 1 ms: part of what the workers could do",
        {
            **_with_pools("spinning:run_system", OURS, TCP),
            "concurro-submit": "benchmarks.spinning:submit concurro",
            "concurro-submit-tcp": "benchmarks.spinning:submit concurro-tcp",
            **_with_pools("spinning:submit", "ppe", "pool", "loky", "ray", "dask", "parsl", "ipyparallel"),
            **_with_pools("spinning:each_finished", "joblib"),
            "fork": "benchmarks.spinning:on_bare_fork",
        },
        "efficiency",
        "of work",
        more_is_better=True,
    ),
    Workload(
        "W7",
        "One tessera: 5 000 no-op calls pipelined; p50, p99: 500 one by one [us]; an array of 10 MiB passed 20 times",
        {
            OURS: "benchmarks.actor_calls:ours",
            TCP: "benchmarks.actor_calls:ours_over_tcp",
            "ray": "benchmarks.actor_calls:ray",
            "dask": "benchmarks.actor_calls:dask",
        },
        "rate",
        "calls/s",
        more_is_better=True,
    ),
    Workload(
        "W8",
        "100 000 tasks queued before any runs (slow peers: 5 000): bytes per task in all processes",
        {
            **_with_pools("queued:queue_many", OURS, TCP, "ppe", "pool", "loky"),
            **_with_pools("queued:queue_fewer", "ray", "dask", "parsl", "ipyparallel"),
        },
        "bytes",
        "B/task",
        more_is_better=False,
    ),
    Workload(
        "W9",
        "from an empty process to the first result, interpreter and imports included",
        {
            OURS: "benchmarks.first_result:from_cluster",
            **{
                peer: f"benchmarks.first_result:from_{peer}"
                for peer in ("ppe", "pool", "loky", "joblib", "ray", "dask", "parsl", "ipyparallel", "bare")
            },
        },
        "seconds",
        "s",
        more_is_better=False,
    ),
    Workload(
        "W11",
        "a master with 50 slaves, and with 1 000, of nothing but the protocol; 200 000 no-op tasks of a system",
        {OURS: "benchmarks.many_slaves:with_50", "concurro-1000": "benchmarks.many_slaves:with_1000"},
        "rate",
        "messages/s",
        more_is_better=True,
    ),
    Workload(
        "W12-submit",
        "W1-submit with a journal, and without",
        {
            OURS: "benchmarks.many_tasks:submit_with_a_journal",
            "concurro-no-journal": "benchmarks.many_tasks:submit concurro",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W12-system",
        "W1-system with a journal, and without",
        {
            OURS: "benchmarks.many_tasks:run_system_with_a_journal",
            "concurro-no-journal": "benchmarks.many_tasks:run_system concurro",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "defaults-system",
        "W1-system with all defaults, and without one: looking for output, comparing process state, checking messages",
        {
            **_with_pools("many_tasks:run_system", OURS),
            **{f"without-{part}": f"benchmarks.defaults:system_without_{part}" for part in (*DEFAULTS, "all")},
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "defaults-submit",
        "W1-submit with all defaults, and without one",
        {
            **_with_pools("many_tasks:submit", OURS),
            **{f"without-{part}": f"benchmarks.defaults:submit_without_{part}" for part in (*DEFAULTS, "all")},
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "TCP-submit",
        "W1-submit on a master and a slave: over TCP with sessions and keys, and over AF_UNIX",
        {OURS: "benchmarks.many_tasks:submit concurro-tcp", UNIX: "benchmarks.many_tasks:submit concurro-unix"},
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "TCP-system",
        "W1-system on a master and a slave: over TCP with sessions and keys, and over AF_UNIX",
        {OURS: "benchmarks.many_tasks:run_system concurro-tcp", UNIX: "benchmarks.many_tasks:run_system concurro-unix"},
        "rate",
        "tasks/s",
        more_is_better=True,
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
        "W14-queue",
        "tag queue: 5 000 no-op tasks added one by one, taken and stored by processes, collected; p50, p99: one by one",
        {
            OURS: "benchmarks.tagged:ours",
            TCP: "benchmarks.tagged:ours_over_tcp",
            "concurro-journal": "benchmarks.tagged:ours_with_a_journal",
            "manager": "benchmarks.tagged:manager",
        },
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "W14-line",
        "tag queue in one process, 1 000 tags: a task added, taken, stored, collected, with a million in line",
        {OURS: "benchmarks.tagged:with_a_million", "concurro-1000": "benchmarks.tagged:with_a_thousand"},
        "rate",
        "tasks/s",
        more_is_better=True,
    ),
    Workload(
        "memory-lazy",
        "a million tasks from a generator: growth of any process, peaks of all",
        _with_pools("memory_loads:lazy", OURS, TCP),
        "growth",
        "MiB",
        more_is_better=False,
    ),
    Workload(
        "memory-results",
        "a million results of 1 000 bytes, reduced by the system: growth of any process, peaks of all",
        _with_pools("memory_loads:reduced", OURS, TCP),
        "growth",
        "MiB",
        more_is_better=False,
    ),
    Workload(
        "memory-echo",
        "10 GB there and back in arrays of 64 MiB: growth of any process, peaks of all",
        _with_pools("memory_loads:echoed", OURS, TCP),
        "growth",
        "MiB",
        more_is_better=False,
    ),
    Workload(
        "memory-shared",
        "10 GB in arrays of 10 MB, two tasks reading each: growth of any process, peaks of all",
        _with_pools("memory_loads:shared", OURS, TCP),
        "growth",
        "MiB",
        more_is_better=False,
    ),
    Workload(
        "memory-systems",
        "50 systems of 20 000 tasks, one after the other: growth of any process, peaks of all",
        _with_pools("memory_loads:systems", OURS, TCP),
        "growth",
        "MiB",
        more_is_better=False,
    ),
)


def select(names: list[str]) -> list[Workload]:
    """Return the workloads of these names, in whatever case; no names are all.

    Raises:
        LookupError: A name that no workload has.
    """
    if not names:
        return list(WORKLOADS)
    selected = []
    for name in names:
        key = name.lower()
        found = [workload for workload in WORKLOADS if f"{workload.name}-".lower().startswith(f"{key}-")]
        if not found:
            message = f"no workload {name!r}; there are {', '.join(workload.name for workload in WORKLOADS)}"
            raise LookupError(message)
        selected += found
    return selected
