"""What a master and its scheduler know of tasks, systems and slaves.

The records of the hot tables: slotted and mutable, because millions of them are touched
per minute. Nothing here travels; a payload is opaque.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.ids import SlaveView, SystemState, format_task_id

if TYPE_CHECKING:
    from collections.abc import Hashable

    from concurro.ids import Ending, Failure, Outcome


class Pace:
    """How long attempts of some code take, as measured.

    Attributes:
        duration: Decaying maximum [s]; None before the first.
        mean: Decaying mean [s]; None before the first.
        measured: How many attempts were measured.
    """

    __slots__ = ("duration", "mean", "measured")

    def __init__(self) -> None:
        self.duration: float | None = None
        self.mean: float | None = None
        self.measured = 0


class TaskClass:
    """What the tasks of one class in one system have in common.

    A host announces each class once: the Python class and the values of the keyword
    fields. Scheduling costs and measured durations are per class, not per task.

    Attributes:
        number: Number within its system, from 0.
        name: Qualified name of the Python class, for people.
        priority: Higher runs earlier.
        timeout: Seconds an attempt may take [s]; None for no limit.
        max_retries: Retries after a failed attempt; None: see `Task`.
        requires: Resource name to amount.
        code: How a worker gets the class: opaque payload and blob references.
        pace: Measured durations; one for all classes that are the same to a slave.
        slave_number: The number by which slaves know it; the same for all those.
        told: Ids of the slaves that were sent it; one for all those.
    """

    __slots__ = (
        "code",
        "max_retries",
        "name",
        "number",
        "pace",
        "priority",
        "requires",
        "slave_number",
        "timeout",
        "told",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        number: int,
        name: str,
        *,
        priority: int = 0,
        timeout: float | None = None,
        max_retries: int | None = None,
        requires: dict[str, float] | None = None,
        code: tuple[bytes, list[Any]] = (b"", []),
    ) -> None:
        self.number = number
        self.name = name
        self.priority = priority
        self.timeout = timeout
        self.max_retries = max_retries
        self.requires = requires or {}
        self.code = code
        self.pace = Pace()
        self.slave_number = number
        self.told: set[str] = set()

    def join(self, kin: TaskClass) -> None:
        """Be the same to a slave as another class.

        Only priority or retries differ.

        A thousand priorities are not a thousand kinds of work: what one class learns, all know,
        a slave gets the code once, and its workers take their tasks together.
        """
        self.pace, self.slave_number, self.told = kin.pace, kin.slave_number, kin.told

    @property
    def slave_key(self) -> Hashable:
        """The same for classes that are the same to a slave."""
        payload, blobs = self.code
        parts = tuple(tuple(blob) for blob in blobs or ())
        at_most_once = self.max_retries == 0
        return self.name, self.timeout, tuple(sorted(self.requires.items())), at_most_once, payload, parts

    @property
    def duration(self) -> float | None:
        """Duration of an attempt, decaying maximum [s]; None before the first."""
        return self.pace.duration

    @duration.setter
    def duration(self, seconds: float | None) -> None:
        self.pace.duration = seconds

    @property
    def mean(self) -> float | None:
        """Duration of an attempt, decaying mean [s]; None before the first."""
        return self.pace.mean

    @mean.setter
    def mean(self, seconds: float | None) -> None:
        self.pace.mean = seconds

    @property
    def measured(self) -> int:
        """How many attempts were measured."""
        return self.pace.measured

    @measured.setter
    def measured(self, count: int) -> None:
        self.pace.measured = count


class CopyLease:
    """The second attempt of a task, beside the current one.

    Attributes:
        lease: Its lease.
        slave_id: Slave that holds the lease.
        attempt: Its number.
        leased_at: When it was given, by the master's clock [s].
    """

    __slots__ = ("attempt", "lease", "leased_at", "slave_id")

    def __init__(self, lease: int, slave_id: str, attempt: int, leased_at: float) -> None:
        self.lease = lease
        self.slave_id = slave_id
        self.attempt = attempt
        self.leased_at = leased_at


class TaskRecord:
    """A task as the master and its scheduler know it: never unpickled.

    Attributes:
        system: The system it belongs to.
        number: Number within the system.
        task_class: What it shares with the tasks of its class.
        payload: Pickled state, opaque.
        blobs: References of large parts, as they travel; None for none.
        attempt: Attempts leased so far; the running one's number.
        lease: Lease of the current attempt; 0 when it has none.
        leased_at: When the last lease was given, by the master's clock [s].
        charged: What its system was charged for the current attempt [s].
        seconds: How long the last attempt ran, as measured where it did [s]; 0 when nobody knows.
        copy: The straggler copy that runs beside the current attempt; None for none.
        copied: Whether a copy was ever started.
        slave_id: Slave that holds the lease, or held the last one.
        crashes: Started attempts lost by their worker's death.
        slave_losses: Attempts lost with their whole slave.
        outcome: How the last attempt failed; None before one did.
        failure: The failure of the last attempt.
    """

    __slots__ = (
        "attempt",
        "blobs",
        "charged",
        "copied",
        "copy",
        "crashes",
        "failure",
        "lease",
        "leased_at",
        "number",
        "outcome",
        "payload",
        "seconds",
        "slave_id",
        "slave_losses",
        "system",
        "task_class",
    )

    def __init__(
        self, system: SystemRecord, number: int, task_class: TaskClass, payload: bytes, blobs: list[Any] | None = None
    ) -> None:
        self.system = system
        self.number = number
        self.task_class = task_class
        self.payload = payload
        self.blobs = blobs
        self.attempt = 0
        self.lease = 0
        self.leased_at = 0.0
        self.charged = 0.0
        self.seconds = 0.0
        self.copy: CopyLease | None = None
        self.copied = False
        self.slave_id: str | None = None
        self.crashes = 0
        self.slave_losses = 0
        self.outcome: Outcome | None = None
        self.failure: Failure | None = None

    @property
    def id(self) -> str:
        """The task id as people see it."""
        return format_task_id(self.system.system_id, self.number)

    @property
    def priority(self) -> int:
        """Higher runs earlier."""
        return self.task_class.priority

    @property
    def requires(self) -> dict[str, float]:
        """Resource name to amount."""
        return self.task_class.requires

    @property
    def size(self) -> int:
        """Bytes that travel with it, large parts included [B]."""
        blobs = self.blobs
        return len(self.payload) if blobs is None else len(self.payload) + sum(int(blob[2]) for blob in blobs)


class BlobUse:
    """Counts the bytes of blobs once, however many tasks use them."""

    __slots__ = ("_users",)

    def __init__(self) -> None:
        self._users: dict[bytes, int] = {}

    def add(self, blobs: list[Any]) -> int:
        """Note a task's blobs, as they travel; return the bytes that are new [B]."""
        size = 0
        for _, digest, length in blobs:
            users = self._users.get(digest, 0)
            self._users[digest] = users + 1
            size += 0 if users else length
        return size

    def remove(self, blobs: list[Any]) -> list[Any]:
        """Note that a task is over; return its blobs that none uses now."""
        unused = []
        for blob in blobs:
            users = self._users.pop(blob[1]) - 1
            if users:
                self._users[blob[1]] = users
            else:
                unused.append(blob)
        return unused

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._users

    def clear(self) -> list[bytes]:
        """Forget every task; return the digests of what they used."""
        used, self._users = list(self._users), {}
        return used


class SystemRecord:
    """A task system as the master and its scheduler know it.

    Attributes:
        number: The master's short number for it.
        system_id: Its id as people see it.
        name: Class name, for people.
        weight: Its share against other systems.
        application: Id of the application that submitted it.
        depth: How deep it is nested in tasks and callbacks of others; 0 for one that is not.
        state: Where it stands. Records of ended systems are dropped at the next `tick`.
        generation: Raised when a recovered host emits other tasks than before.
        kept, speculate: Whether the journal has it, and whether straggler copies may run.
        told: Ids of the slaves that were sent classes which are forgotten here.
        classes: Class number to TaskClass.
        kinds: The first of its classes that are the same to a slave, by `slave_key`.
        open: Task number to TaskRecord, for every task that is not final.
        done, failed, cancelled: Counts of final tasks.
        endings: Task number to how it ended, for the first that were not done.
        leased: Count of open tasks that hold a lease.
        open_bytes: Bytes of open tasks and of their blobs, each of which counts once [B].
        blob_use: What counts them.
        unused: Digests that no open task used any more at some time; who has them dropped clears it.
        retained: Task number to task and outcome, of those final since a snapshot began; None: nobody wants them.
        chronicle: Keeps its course for a report; None when nobody does.
    """

    __slots__ = (
        "application",
        "blob_use",
        "cancelled",
        "chronicle",
        "classes",
        "depth",
        "done",
        "endings",
        "failed",
        "generation",
        "kept",
        "kinds",
        "leased",
        "name",
        "number",
        "open",
        "open_bytes",
        "retained",
        "speculate",
        "state",
        "system_id",
        "told",
        "unused",
        "weight",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        number: int,
        system_id: str,
        name: str,
        *,
        weight: float = 1.0,
        application: str = "",
        speculate: bool = False,
        depth: int = 0,
    ) -> None:
        self.number = number
        self.system_id = system_id
        self.name = name
        self.weight = weight
        self.application = application
        self.speculate = speculate
        self.depth = depth
        self.state = SystemState.STARTING
        self.generation = 1
        self.kept = False
        self.told: set[str] = set()
        self.classes: dict[int, TaskClass] = {}
        self.kinds: dict[Hashable, TaskClass] = {}
        self.open: dict[int, TaskRecord] = {}
        self.done = 0
        self.failed = 0
        self.cancelled = 0
        self.endings: dict[int, Ending] = {}
        self.leased = 0
        self.open_bytes = 0
        self.blob_use = BlobUse()
        self.unused: list[bytes] = []
        self.retained: dict[int, tuple[TaskRecord, int]] | None = None
        self.chronicle: Any = None  # a `scheduling.chronicle.Chronicle`, of a layer above

    def bytes_without(self, task: TaskRecord) -> int:
        """Return by how much `open_bytes` shrinks, once, with a task [B]."""
        unused = self.blob_use.remove(task.blobs) if task.blobs is not None else ()
        self.unused += [blob[1] for blob in unused]
        return len(task.payload) + sum([int(blob[2]) for blob in unused])


class SlaveRecord:
    """A slave as the scheduler and its strategy know it.

    Attributes:
        id: Unique name.
        host: Host name.
        workers: Slots: tasks that it can run at once.
        leases: Lease to TaskRecord, oldest first.
        resources: Name to amount offered.
        free: Name to amount not taken by leases.
        rating: The strategy's last rating; less is better.
        durations: Class name to measured duration here, a decaying mean [s].
        finished: Attempts that ended here.
        sick: Why it must not get tasks; empty when it may.
        draining: Whether it is leaving and takes nothing new.
        lent: Slots among its workers that are lent by tasks that wait.
        waits: Lease to what its task waits for, in words, and whether its slot is lent.
        blobs: Digests known to be on its machine.
        stopped: Process ids of busy workers that are stopped, as by SIGSTOP.
    """

    __slots__ = (
        "blobs",
        "draining",
        "durations",
        "finished",
        "free",
        "host",
        "id",
        "leases",
        "lent",
        "rating",
        "resources",
        "sick",
        "stopped",
        "waits",
        "workers",
    )

    def __init__(self, slave_id: str, host: str, workers: int, resources: dict[str, float] | None = None) -> None:
        self.id = slave_id
        self.host = host
        self.workers = workers
        self.resources = dict(resources or {})
        self.free = dict(self.resources)
        self.leases: dict[int, TaskRecord] = {}
        self.rating = 0.0
        self.durations: dict[str, float] = {}
        self.finished = 0
        self.sick = ""
        self.draining = False
        self.lent = 0
        self.waits: dict[int, str] = {}
        self.blobs: set[bytes] = set()
        self.stopped: list[int] = []

    @property
    def running(self) -> int:
        """Leases that run now, as far as the master can know."""
        return min(len(self.leases), self.workers)

    @property
    def queued(self) -> int:
        """Leases sent ahead of what can run."""
        return max(0, len(self.leases) - self.workers)

    def view(self) -> SlaveView:
        """Return what others may see of it."""
        return SlaveView(self.id, self.host, self.workers, self.running, self.queued, self.rating, dict(self.resources))
