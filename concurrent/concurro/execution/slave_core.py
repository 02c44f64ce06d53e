"""The slave's core: leases in, results out; pure.

    master                     core                                  worker
      | CLASSES, LEASES ------> | fetch blobs, queue
      |                         | PostChunk: tokens, entries --------> | claims a token per task
      | <------------- RESULTS  | <--- results, end of the chunk ----- |
      | RECALL, KILL ---------> | TakeTokens: what is left cannot start
      | <--- RETURNED, STARTED  |
      | RESULT_ACK -----------> | the result may be forgotten

Events in, commands out, time as an argument; no socket, thread, clock, random or file. A
worker runs its chunks in order and claims one token before each task, so whoever takes the
tokens that are left knows that exactly the last tasks of the chunks will not start. After
that the worker gets nothing new until it has reported the end of every chunk.

A lease ends in exactly one way: a result, returned to the master, or killed by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.errors import ProtocolError
from concurro.execution.crew import Crew
from concurro.execution.devices import Devices
from concurro.execution.holdings import describe_held
from concurro.execution.outbox import Outbox
from concurro.execution.posting import Posting
from concurro.execution.ready_queue import ReadyQueue
from concurro.execution.slave_records import (
    ENDING_LIMIT,
    KILL_GRACE,
    LOADING_LIMIT,
    Command,
    Drained,
    Entry,
    Forget,
    KillWorker,
    Nudge,
    Release,
    StateChanged,
    TakeTokens,
    TaskCode,
    WaitAnswered,
    WorkerRecord,
    WorkerState,
)
from concurro.execution.supplies import Supplies
from concurro.ids import Outcome

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence


class SlaveCore:
    """What a slave does with its leases and workers. Not thread-safe.

    Args:
        workers: How many workers to keep.
        first_id: The id of the first worker.
        devices: Names of the devices that the resource `gpu` stands for.
    """

    def __init__(self, workers: int, first_id: int = 1, devices: Sequence[str] = ()) -> None:
        self.draining = False
        self._crew = Crew(workers, first_id)
        self._ready = ReadyQueue()
        self._devices = Devices(devices)
        self._posting = Posting(self._crew, self._ready, self._devices)
        self._supplies = Supplies()
        self._commands: list[Command] = []
        self._outbox = Outbox()
        self._drained = False

    # What happens

    def start(self) -> None:
        """Start the workers."""
        self._crew.running = True

    def update_pool(self, workers: int) -> None:
        """Keep another number of workers; running tasks are not disturbed."""
        for worker in self._crew.resize(workers):
            if worker.chunks:
                self._take_tokens(worker)
        self._commands.append(StateChanged())

    def classes(self, announcements: Iterable[list[Any]]) -> None:
        """Take CLASSES."""
        self._commands += self._supplies.announce(announcements, with_devices=bool(self._devices))

    def leases(self, entries: Iterable[Entry]) -> None:
        """Take LEASES."""
        run, known = None, (0, 0)
        for entry in entries:
            if run is not None and entry[2] == known[1] and entry[1] == known[0] and not entry[6]:
                self._ready.extend(run, entry)
                continue
            run, key = None, (entry[1], entry[2])  # what waits apart is followed by others of its class
            known, code = key, self._supplies.codes.get(key)
            if self.draining or self.sick:
                self._outbox.returned.append(entry[0])
            elif code is None or code.fault:
                self._fail(entry, code.fault if code else f"class {key[1]} of system {key[0]} is unknown here")
            elif entry[6] or not code.here:
                self._commands += self._supplies.fetch(entry, code)
            else:
                run = self._ready.append(code, entry)

    def fetched(self, owner: Hashable, fault: str | None) -> None:
        """Take the end of a `Fetch`; `fault` says why it failed."""
        for entry in self._supplies.fetched(owner, fault):
            if fault is not None:
                self._fail(entry, fault)
            else:
                self._ready.append(self._supplies.codes[entry[1], entry[2]], entry)

    def recall(self, leases: Iterable[int]) -> None:
        """Take RECALL: return what has not started, tell of the rest."""
        wanted = set(leases)
        for lease in self._remove_queued(wanted):
            self._outbox.returned.append(lease)
        for worker in self._crew.holders(wanted):
            worker.recalled |= wanted & {entry[0] for entry in worker.outstanding()}
            self._take_tokens(worker)

    def kill(self, leases: Iterable[int], now: float) -> None:
        """Take KILL: nobody wants these any more."""
        wanted = set(leases)
        self._remove_queued(wanted)
        outbox = self._outbox
        self._commands += outbox.forget(wanted)
        outbox.results = [result for result in outbox.results if not self._is_unwanted(result, wanted)]
        for worker in self._crew.holders(wanted):
            worker.killed |= wanted & {entry[0] for entry in worker.outstanding()}
            worker.progress = now
            worker.nudges = 0
            self._take_tokens(worker)

    def acknowledge(self, leases: Iterable[int]) -> bool:
        """Take RESULT_ACK; return whether anything may follow from it."""
        self._commands += self._outbox.forget(leases)
        return bool(self._commands) or self.draining

    def forget(self, system: int) -> None:
        """Take FORGET: a system is over."""
        self._commands += self._supplies.forget(system)
        self._remove_queued(self._supplies.of_system(system))
        self._remove_queued(self._ready.of_system(system))
        for worker in self._crew:
            worker.known = {key: code for key, code in worker.known.items() if key[0] != system}
        self._commands.append(Forget(system))

    def drain(self) -> None:
        """Take nothing new, return what has not started, let the rest end."""
        if self.draining:
            return
        self.draining = True
        self._return_queued()
        for worker in self._crew:
            if worker.chunks:
                self._take_tokens(worker)

    def abandon(self) -> None:
        """Drop everything: who gave leases and numbered systems is gone."""
        self._remove_queued({entry[0] for entry in self._ready} | set(self._supplies.waiting))
        self._commands += self._outbox.clear()
        for worker in self._crew:
            if worker.chunks:
                worker.killed.update(entry[0] for entry in worker.outstanding())
                self._kill(worker)
        for system in {key[0] for key in self._supplies.codes}:
            self.forget(system)

    def hold(self) -> None:
        """Go on with what can run: the master is gone, and may come back for it."""
        self._remove_queued(set(self._supplies.waiting))
        self._supplies.drop_missing()

    def holdings(self) -> list[list[Any]]:
        """Return the entries of INVENTORY; every result is told again."""
        self._outbox.tell_again()
        return describe_held(self._outbox.ended, self._crew, self._ready, self._supplies.codes)

    def keep(self, *, keeps: bool) -> None:
        """Learn whether it may have to say what it holds."""
        self._outbox.keeps = keeps

    def inventory(self) -> list[int]:
        """Return every lease that is held and has no result."""
        queued = [entry[0] for entry in self._ready]
        posted = [entry[0] for worker in self._crew for entry in worker.outstanding()]
        return [*posted, *queued, *self._supplies.waiting]

    def worker_ready(self, worker_id: int, now: float) -> None:
        """Notice that a worker can be posted to."""
        worker = self._crew.get(worker_id)
        if worker is not None and worker.state is WorkerState.STARTING:
            worker.state = WorkerState.READY
            worker.progress = worker.started_at = now
            self._commands.append(StateChanged())

    def worker_results(self, worker_id: int, results: list[Entry], ended: int, now: float) -> None:
        """Take results of a worker's oldest chunks, of which so many have `ended`.

        Raises:
            ProtocolError: It was not asked this, or did not run what was not taken back.
        """
        worker = self._crew.get(worker_id)
        if worker is None:
            return
        if not worker.may_answer(results, ended):
            message = f"results of {[result[0] for result in results]!r:.100}, which are not what it has to run next"
            raise ProtocolError(message)
        worker.progress = now
        worker.nudges = 0
        if results:
            for entry in self._outbox.note(worker.take_first(results), worker.killed):
                if entry[6]:
                    self._commands.append(Release(("lease", entry[0])))
            if worker.killed:
                results = [result for result in results if not self._is_unwanted(result, worker.killed)]
            self._outbox.results += results
            worker.worked = True
            if not worker.killed:
                worker.deadline = None
        for _ in range(ended):
            self._posting.free(worker.chunks.popleft())
        if ended and not worker.chunks:
            self._became_idle(worker)

    def worker_starts(self, worker_id: int, lease: int, now: float) -> None:
        """Notice that a task with a time limit is loaded and begins.

        Raises:
            ProtocolError: It is not what the worker has to run next.
        """
        worker = self._crew.get(worker_id)
        if worker is None or not worker.chunks:
            return
        limit = worker.chunks[0].code.timeout
        if limit is None or lease != self.current_lease(worker_id):
            message = f"lease {lease}, which is not what it has to run next, begins"
            raise ProtocolError(message)
        worker.runs_since = now
        worker.deadline = now + limit

    def worker_recycles(self, worker_id: int, now: float) -> None:
        """Notice that a worker ends because a task changed its process."""
        worker = self._crew.get(worker_id)
        if worker is not None:
            worker.state = WorkerState.ENDING
            worker.deadline = now + ENDING_LIMIT
            worker.worked = True

    def worker_exceeds(self, worker_id: int, message: str) -> None:
        """Notice that a worker holds more memory than it may.

        Args:
            worker_id: Which.
            message: What the error of its task says; an idle worker is replaced quietly.
        """
        worker = self._crew.get(worker_id)
        if worker is None:
            return
        if worker.chunks:
            worker.verdict = (Outcome.MEMORY, message)
            self._kill(worker)
        elif worker.is_ready:
            worker.state = WorkerState.RETIRING

    def workers_vanish(self) -> None:
        """Notice that every worker ends for one reason.

        It says as much about how workers live here as a single death.
        """
        for worker in [worker for worker in self._crew if not worker.worked][1:]:
            worker.counts = False

    def worker_misbehaves(self, worker_id: int) -> None:
        """Notice that a worker sent nonsense: it must end, and gets nothing more."""
        worker = self._crew.get(worker_id)
        if worker is not None:
            self._kill(worker)

    def lend(self, worker_id: int, lease: int) -> None:
        """Notice that a task waits: its slot may be lent, `WaitAnswered` tells."""
        worker = self._crew.get(worker_id)
        if worker is None or not worker.chunks:
            self._commands.append(WaitAnswered(worker_id, granted=False))
            return
        # What was posted behind it, and what waits here, goes back: the master knows what it waits for.
        worker.recalled |= {entry[0] for entry in worker.outstanding()} - {lease}
        self._take_tokens(worker)
        self._outbox.returned += self._remove_queued({entry[0] for entry in self._ready})
        self._crew.lending.ask(worker_id)

    def end_loan(self, worker_id: int) -> bool:
        """Notice that a task waits no more; return whether its slot was lent."""
        lent, commands = self._crew.end_loan(worker_id)
        self._commands += commands
        return lent

    def refuse_wait(self) -> None:
        """Refuse a wait: nothing runs anywhere that it may be for."""
        self._commands += self._crew.refuse_wait()

    def tokens_taken(self, worker_id: int, count: int, now: float) -> None:
        """Take the answer to `TakeTokens`: the last `count` tasks will not start."""
        worker = self._crew.get(worker_id)
        if worker is None or not worker.taking:
            return
        worker.taking = False
        worker.taken = bool(worker.chunks)
        self._give_back(worker, worker.take_last(count))
        started = [entry[0] for entry in worker.outstanding()]
        told = [lease for lease in started if lease in worker.recalled]
        self._outbox.started += told
        worker.recalled.clear()
        if started and started[-1] in worker.killed:
            # Of several started ones, those before the last have ended and their results are on the way.
            if len(started) > 1:
                worker.deadline = now + KILL_GRACE
            else:
                self._kill(worker)

    def worker_ended(  # noqa: PLR0913 - what is known of a death
        self, worker_id: int, cause: str, tokens: int, now: float, output: str = "", trace: str = ""
    ) -> None:
        """Notice a worker's death, after its last message.

        Args:
            worker_id: Which.
            cause: How it ended, in words.
            tokens: Tokens that were left: the last so many tasks had not started.
            now: Monotonic time [s].
            output: The last lines that it printed.
            trace: Where it was in native code; empty when that is not known.
        """
        worker = self._crew.remove(worker_id)
        if worker is None:
            return
        expected = worker.state in (WorkerState.ENDING, WorkerState.RETIRING)
        self._give_back(worker, worker.take_last(tokens))
        for chunk in worker.chunks:
            self._posting.free(chunk)
        started = worker.outstanding()
        for entry in started[:-1]:
            self._lose(worker, entry, Outcome.SLAVE_LOST, f"its worker died before the result left: {cause}")
        for entry in started[-1:]:
            if worker.verdict is not None:
                self._lose(worker, entry, *worker.verdict)
            else:
                self._lose(worker, entry, Outcome.LOST, f"the worker died: {cause}{_quoted(output)}", trace)
        if worker.worked or started or expected:
            self._crew.restarts.worked()
        elif worker.counts:
            self._crew.restarts.died(cause + _quoted(output), now)
            if self.sick:
                self._return_queued()
        self._commands.append(StateChanged())

    def tick(self, now: float) -> None:
        """Let time pass: deadlines, restarts, tasks that wait behind a long one."""
        for worker in self._crew:
            if worker.deadline is None or worker.deadline > now:
                continue
            worker.deadline = None
            if worker.state is WorkerState.ENDING:
                self._kill(worker)
            elif worker.chunks:
                limit = worker.chunks[0].code.timeout
                if limit is not None and worker.runs_since is not None:
                    worker.verdict = (Outcome.TIMEOUT, f"it ran longer than its timeout of {limit:g} s")
                elif limit is not None:
                    text = f"its class and arguments were not loaded within {limit + LOADING_LIMIT:g} s"
                    worker.verdict = (Outcome.TIMEOUT, text)
                self._kill(worker)
        if self._crew.recovers(now):
            self._commands.append(StateChanged())
        for worker in self._crew.to_nudge(now):
            worker.nudges += 1
            self._commands.append(Nudge(worker.id))
        if not self._ready and not self.draining and (late := self._crew.to_rob(now)):
            self._take_tokens(late)

    def next_time(self) -> float | None:
        """Return when `tick` should be called at the latest [s]; None: no need."""
        return min(self._crew.times(queued=bool(self._ready), draining=self.draining), default=None)

    # What is to be done

    def take_commands(self, now: float) -> list[Command]:
        """Decide, and return what is to be done, in this order."""
        if self._crew.running:
            self._commands += self._crew.answer_waits(now)
            if not self.draining:
                self._commands += self._crew.fill(now, self._ready.total)
            if self._ready.total:
                self._commands += self._posting.assign(now)
            self._crew.rest(now)
            self._commands += self._crew.end_idle()
        self._commands += self._outbox.take("draining" if self.draining else self.sick or "recalled")
        if self.draining and not self._drained and not self._outbox.kept and not self.inventory():
            self._drained = True
            self._commands.append(Drained())
        commands, self._commands = self._commands, []
        return commands

    @property
    def results(self) -> dict[int, Entry]:
        """Results that the master has not acknowledged, by lease."""
        return self._outbox.kept

    @property
    def sick(self) -> str:
        """Why the slave must not get tasks; empty when it may."""
        return self._crew.restarts.sick

    def assert_quiet(self) -> None:
        """Raise AssertionError when something is to be done or told."""
        left = [*self._commands, *self._outbox.results, *self._outbox.returned, *self._outbox.started]
        if left:
            message = f"not quiet: {left}"
            raise AssertionError(message)

    @property
    def slots(self) -> int:
        """How many tasks it may hold at once: one per worker, and those that wait."""
        return self._crew.slots

    @property
    def workers(self) -> int:
        """How many tasks run at once."""
        return self._crew.wanted

    @property
    def lent(self) -> int:
        """How many slots are lent by tasks that wait."""
        return len(self._crew.lending.waiting)

    def is_busy(self, worker_id: int) -> bool:
        """Say whether a worker was posted anything that it has not reported."""
        worker = self._crew.get(worker_id)
        return worker is not None and bool(worker.chunks)

    def holds(self, worker_id: int, lease: int) -> bool:
        """Say whether a worker was posted a lease and has not reported it."""
        worker = self._crew.get(worker_id)
        return worker is not None and any(entry[0] == lease for entry in worker.outstanding())

    def current_lease(self, worker_id: int) -> int:
        """Return the lease that a worker runs, as far as is known; 0 for none."""
        worker = self._crew.get(worker_id)
        if worker is None or not worker.chunks or not worker.chunks[0].entries:
            return 0
        lease: int = worker.chunks[0].entries[0][0]
        return lease

    # How

    def _became_idle(self, worker: WorkerRecord) -> None:
        worker.taken = False
        worker.runs_since = None
        worker.killed.clear()
        worker.recalled.clear()
        worker.deadline = None

    def _take_tokens(self, worker: WorkerRecord) -> None:
        if not worker.taking:
            worker.taking = True
            self._commands.append(TakeTokens(worker.id))

    def _give_back(self, worker: WorkerRecord, removed: list[tuple[TaskCode, Entry]]) -> None:
        """Queue in front what did not start, or return it to the master."""
        for code, entry in reversed(removed):
            lease = entry[0]
            if lease in worker.killed:
                worker.killed.discard(lease)
                self._release(entry)
            elif lease in worker.recalled or self.draining or self.sick:
                self._outbox.returned.append(lease)
                self._release(entry)
            else:
                self._ready.put_back(code, entry)

    def _is_unwanted(self, result: Entry, killed: set[int]) -> bool:
        if result[0] not in killed:
            return False
        if result[3]:
            self._commands.append(Release(("result", result[0])))
        return True

    def _kill(self, worker: WorkerRecord) -> None:
        if worker.state is not WorkerState.ENDING:
            worker.state = WorkerState.ENDING
        self._commands.append(KillWorker(worker.id))

    def _lose(self, worker: WorkerRecord, entry: Entry, outcome: Outcome, message: str, trace: str = "") -> None:
        self._release(entry)
        if entry[0] in worker.killed:
            return
        self._outbox.note([entry])
        self._outbox.fail(entry[0], outcome, message, trace)

    def _fail(self, entry: Entry, message: str) -> None:
        self._release(entry)
        self._outbox.note([entry])
        self._outbox.fail(entry[0], Outcome.NOT_LOADED, message)

    def _release(self, entry: Entry) -> None:
        if entry[6]:
            self._commands.append(Release(("lease", entry[0])))

    def _remove_queued(self, wanted: set[int]) -> list[int]:
        """Remove leases that no worker has; return which."""
        removed = []
        for lease in wanted & self._supplies.waiting.keys():
            self._release(self._supplies.waiting.pop(lease)[0])
            removed.append(lease)
        for entry in self._ready.remove(wanted):
            self._release(entry)
            removed.append(entry[0])
        return removed

    def _return_queued(self) -> None:
        queued = {entry[0] for entry in self._ready} | set(self._supplies.waiting)
        self._outbox.returned += self._remove_queued(queued)


def _quoted(output: str) -> str:
    return f"; its last output:\n{output}" if output.strip() else ""
