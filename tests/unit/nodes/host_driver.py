"""Drives a host core: a master that runs every task at once."""

from __future__ import annotations

from concurro.ids import Outcome
from concurro.nodes.host_core import HostCore
from concurro.system import TaskSystem
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

PULL = 1000
BUDGET = 64 * 1024 * 1024


class Number(Task):
    """Returns its number."""

    def __init__(self, number):
        super().__init__(f"number-{number}")
        self.number = number

    def __call__(self):
        return self.number


class Job(TaskSystem):
    """A system of as many rounds as it was given; notes every call."""

    def __init__(self, *rounds, wanted=None):
        super().__init__()
        self.rounds = [list(tasks) if tasks is not None else None for tasks in rounds]
        self.wanted = wanted
        self.calls = []
        self.results = []
        self.errors = []

    def init_system(self, master):
        self.calls.append("init")

    def generate_tasks(self, master):
        self.calls.append("generate")
        return self.rounds.pop(0) if self.rounds else None

    def task_finished(self, master, task, result, error):
        self.calls.append(f"finished {task.name}")
        self.results.append(result)
        self.errors.append(error)

    def is_complete(self, master):
        self.calls.append("complete?")
        return self.wanted is not None and len(self.results) >= self.wanted

    def gather_result(self, master):
        self.calls.append("gather")
        return self.results, None


class Driver:
    """A host core and a master that runs every task at once."""

    def __init__(self, system, seed=1):
        self.packer = Packer(BlobStore(), Travelling())
        self.core = HostCore(1, system, "job", self.packer, seed=seed)
        self.system = system
        self.n = 0
        self.open = {}
        self.outputs = [self.core.start(1000.0)]
        self._take(self.outputs[0])

    def _take(self, out):
        for index, entry in enumerate(out[4]):
            self.open[out[2] + index] = entry
        return out

    def give(self, entries=(), pull=0, cancel=None, view=None, wall=1000.0, budget=BUDGET):
        """Give one input; return the output."""
        self.n += 1
        out = self.core.take_input([1, self.n, wall, list(entries), pull, budget, cancel, view])
        self.outputs.append(out)
        return self._take(out)

    def pull(self, count=PULL, budget=BUDGET):
        return self.give(pull=count, budget=budget)

    def done(self, number, value=None):
        self.open.pop(number)
        payload, blobs = self.packer.dumps(number if value is None else value)
        return [number, int(Outcome.DONE), payload, blobs, "north", 1, 2_000_000]

    def failed(self, number, outcome=Outcome.RAISED):
        self.open.pop(number)
        return [number, int(outcome), ["ValueError", "wrong", "Traceback ...", None], None, "north", 2, 0]

    def finish(self, *numbers, pull=0):
        return self.give([self.done(number) for number in numbers], pull=pull)

    def run(self):
        """Pull and finish everything until the end; return the end."""
        for _ in range(100):
            out = self.give([self.done(number) for number in list(self.open)], pull=PULL)
            if out[8] is not None:
                return out[8]
        return None

    def result(self, end):
        """Return what an end carries."""
        _, (outcome, value, blobs) = end
        return self.packer.loads(value, blobs) if outcome == Outcome.DONE else value


def numbers(count, first=0):
    return [Number(number) for number in range(first, first + count)]
