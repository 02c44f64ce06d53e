"""Drives a slave core: a stand-in for workers, their tokens and the master."""

from __future__ import annotations

from collections import deque

from concurro.execution.slave_core import SlaveCore
from concurro.execution.slave_records import (
    Drained,
    Fetch,
    KillWorker,
    Nudge,
    PostChunk,
    Release,
    StartWorker,
    StopWorker,
    TakeTokens,
    Tell,
    WaitAnswered,
)
from concurro.ids import Outcome
from concurro.wire.messages import Kind

MICROSECOND = 1_000
MILLISECOND = 1_000_000


def task_class(number=0, system=1, timeout=None, blobs=None, gpu=0):
    """Return one entry of CLASSES."""
    return [system, number, f"Class{number}", timeout, {"gpu": gpu} if gpu else {}, b"code", blobs or [], "job"]


def lease(number, task_class=0, system=1, blobs=None):
    """Return one entry of LEASES."""
    return [number, system, task_class, number, 1, b"payload", blobs]


class FakeWorker:
    """What a real worker does with its chunks and tokens."""

    def __init__(self):
        self.tokens = 0
        self.told = set()  # classes
        self.devices = ()
        self.chunks = deque()
        self.joined = deque()
        self.running = None
        self.unreported = []
        self.ended = 0

    def end_chunk(self):
        """Leave a chunk that is over."""
        self.chunks.popleft()
        self.joined.popleft()
        self.ended += 1

    def claim(self):
        """Start the next task, if its token is left; return its lease or None."""
        if not self.chunks or not self.chunks[0] or self.tokens == 0:
            return None
        self.tokens -= 1
        self.running = self.chunks[0].popleft()
        return self.running

    def at_end(self):
        """Say whether the oldest chunk is over: all run, or the rest was taken back."""
        return bool(self.chunks) and self.running is None and (not self.chunks[0] or self.tokens == 0)


class SlaveDriver:
    """A core, its fake workers, and what the master has heard."""

    def __init__(self, workers=1, devices=()):
        self.core = SlaveCore(workers, devices=devices)
        self.now = 100.0
        self.workers = {}
        self.killed = []
        self.stopped = []
        self.nudged = []
        self.results = {}
        self.returned = []
        self.started = []
        self.fetches = []
        self.released = []
        self.drained = False
        self.states = 0
        self.answers = {}
        self.stuck = 0
        self.auto_tokens = True
        self.core.start()
        self.step()

    def step(self):
        """Carry out what the core wants, until it wants nothing more; return the commands."""
        everything = []
        while commands := self.core.take_commands(self.now):
            everything += commands
            for command in commands:
                self._do(command)
        return everything

    def tick(self, seconds):
        """Let time pass."""
        self.now += seconds
        self.core.tick(self.now)
        return self.step()

    def give(self, *entries, classes=(0,)):
        """Announce classes of system 1 and lease tasks."""
        self.core.classes([task_class(number) for number in classes])
        self.core.leases(entries)
        self.step()

    def ready(self, *workers):
        """Let workers report that they are ready."""
        for worker in workers or list(self.workers):
            self.core.worker_ready(worker, self.now)
        self.step()

    def posted(self, worker):
        """Return the leases of each chunk that a worker holds and has not run."""
        return [list(chunk) for chunk in self.workers[worker].chunks]

    def run_one(self, worker, duration=MICROSECOND):
        """Let a worker run its next task and report it; return its lease."""
        claimed = self.workers[worker].claim()
        assert claimed is not None, "the worker has nothing to run"
        self.report(worker, duration)
        return claimed

    def begin(self, worker):
        """Let a worker load its next task, which has a time limit, and say so; return its lease."""
        claimed = self.workers[worker].claim()
        self.core.worker_starts(worker, claimed, self.now)
        self.step()
        return claimed

    def report(self, worker, duration=MICROSECOND, outcome=Outcome.DONE):
        """Let the running task end."""
        self.finish(worker, duration, outcome)
        self.flush(worker)

    def finish(self, worker, duration=MICROSECOND, outcome=Outcome.DONE):
        """Let the running task end, its result still in the worker."""
        fake = self.workers[worker]
        fake.unreported.append([fake.running, int(outcome), b"value", None, duration])
        fake.running = None
        if fake.joined[0] and not fake.chunks[0]:
            fake.end_chunk()

    def flush(self, worker):
        """Let a worker report what has ended."""
        fake = self.workers[worker]
        assert not fake.unreported or self.core.current_lease(worker) == fake.unreported[0][0]
        if fake.at_end():
            fake.end_chunk()
        self._tell(worker)

    def _tell(self, worker):
        fake = self.workers[worker]
        results, fake.unreported = fake.unreported, []
        ended, fake.ended = fake.ended, 0
        self.core.worker_results(worker, results, ended, self.now)
        self.step()

    def skip(self, worker):
        """Let a worker notice that the rest of a chunk was taken back."""
        assert self.workers[worker].at_end()
        self.workers[worker].end_chunk()
        self._tell(worker)

    def die(self, worker, cause="killed by SIGSEGV", output=""):
        """Let a worker's process end."""
        tokens = self.workers.pop(worker).tokens
        self.core.worker_ended(worker, cause, tokens, self.now, output)
        self.step()

    def measure(self, worker=1, duration=MICROSECOND, number=1):
        """Run one task, so that its class has a duration."""
        self.give(lease(number))
        self.run_one(worker, duration)
        self.acknowledge()

    def acknowledge(self):
        """Let the master acknowledge everything."""
        self.core.acknowledge(list(self.results))
        self.step()

    def take_tokens(self, worker):
        """Carry out a TakeTokens that was held back."""
        fake = self.workers[worker]
        taken, fake.tokens = fake.tokens, 0
        self.core.tokens_taken(worker, taken, self.now)
        self.step()

    def _do(self, command):  # noqa: C901 - one branch per command
        if isinstance(command, StartWorker):
            self.workers[command.worker] = FakeWorker()
        elif isinstance(command, StopWorker):
            self.stopped.append(command.worker)
        elif isinstance(command, KillWorker):
            self.killed.append(command.worker)
        elif isinstance(command, Nudge):
            self.nudged.append(command.worker)
        elif isinstance(command, PostChunk):
            fake = self.workers[command.worker]
            fake.told |= {code.key for code in command.task_classes}
            classes = {(entry[1], entry[2]) for entry in command.entries}
            assert len(classes) == 1, f"a chunk has tasks of several classes: {classes}"
            assert classes <= fake.told, f"worker {command.worker} was told {fake.told}, and gets a task of {classes}"
            fake.tokens += len(command.entries)
            fake.devices = command.devices
            fake.chunks.append(deque(entry[0] for entry in command.entries))
            fake.joined.append(command.joined)
        elif isinstance(command, TakeTokens):
            if self.auto_tokens:
                fake = self.workers[command.worker]
                taken, fake.tokens = fake.tokens, 0
                self.core.tokens_taken(command.worker, taken, self.now)
        elif isinstance(command, Fetch):
            self.fetches.append(command)
        elif isinstance(command, Release):
            self.released.append(command.owner)
        elif isinstance(command, WaitAnswered):
            self.answers[command.worker] = command.granted
        elif isinstance(command, Drained):
            self.drained = True
        elif isinstance(command, Tell):
            self._hear(command.kind, command.body)

    def _hear(self, kind, body):
        if kind == Kind.RESULTS:
            for result in body:
                assert result[0] not in self.results, f"lease {result[0]} has two results"
                self.results[result[0]] = result
        elif kind == Kind.RETURNED:
            self.returned += body[0]
        elif kind == Kind.STARTED:
            self.started += body[0]
        elif kind == Kind.STUCK:
            self.stuck += 1
