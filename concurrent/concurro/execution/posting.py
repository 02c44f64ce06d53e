"""Which worker of a slave gets which tasks: chunks of what is ready.

    ReadyQueue --chunks--> idle workers first, then behind short tasks
               --apart---> tasks that need devices: one at a time, strictly in order

Pure.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from concurro.execution.devices import choose_worker
from concurro.execution.slave_records import LOADING_LIMIT, Chunk, Command, PostChunk, WorkerState

if TYPE_CHECKING:
    from concurro.execution.crew import Crew
    from concurro.execution.devices import Devices, Share
    from concurro.execution.ready_queue import ReadyQueue
    from concurro.execution.slave_records import Entry, TaskCode, WorkerRecord


class Posting:
    """Posts what is ready to workers. Not thread-safe.

    Args:
        crew: The workers.
        ready: What waits for one.
        devices: What the resource `gpu` stands for.
    """

    def __init__(self, crew: Crew, ready: ReadyQueue, devices: Devices) -> None:
        self._crew = crew
        self._ready = ready
        self._devices = devices

    def assign(self, now: float) -> list[Command]:
        """Post chunks to idle workers, then behind short tasks."""
        commands: list[Command] = []
        idle = self._crew.idle()
        if self._ready.apart:
            self._assign_devices(idle, now, commands)
        while self._ready and idle:
            self._post(idle.pop(0), now, commands)
        if not self._ready or not self._ready.first_code().may_prefetch():
            return commands
        for worker in self._crew:
            if not self._ready or not self._ready.first_code().may_prefetch():
                break
            if worker.may_be_sent_ahead():
                self._post(worker, now, commands)
        return commands

    def free(self, chunk: Chunk) -> None:
        """Give back the devices of a chunk that has ended."""
        if chunk.share is not None:
            self._devices.give_back(chunk.share)
            chunk.share = None

    def _assign_devices(self, idle: list[WorkerRecord], now: float, commands: list[Command]) -> None:
        """Post tasks that need devices, strictly in order: none starves."""
        apart = self._ready.apart
        while apart:
            code, entry = apart[0]
            worker, share = choose_worker(self._devices, code.devices, idle)
            if worker is None:
                return
            if share is None:
                if not any(other.state is WorkerState.STARTING for other in self._crew):
                    idle.remove(worker)
                    worker.state = WorkerState.RETIRING
                    commands += self._crew.fill(now)
                return
            idle.remove(worker)
            apart.popleft()
            worker.devices = share.devices
            commands.append(_post_chunk(worker, code, [entry], now, share))

    def _post(self, worker: WorkerRecord, now: float, commands: list[Command]) -> None:
        code, workers = self._ready.first_code(), self._crew.wanted
        commands.extend(
            _post_chunk(worker, code, self._ready.take_chunk(workers), now, joined=left > 0)
            for left in reversed(range(self._ready.chunks_at_once(workers)))
        )


def _post_chunk(  # noqa: PLR0913 - what a chunk is
    worker: WorkerRecord,
    code: TaskCode,
    entries: list[Entry],
    now: float,
    share: Share | None = None,
    *,
    joined: bool = False,
) -> PostChunk:
    announced: tuple[TaskCode, ...] = ()
    if worker.known.get(code.key) is not code:
        worker.known[code.key] = code
        announced = (code,)
    if not worker.chunks:
        worker.progress = now
        worker.nudges = 0
    worker.chunks.append(Chunk(code, deque(entries), share, joined=joined))
    timed = code.timeout is not None
    if code.timeout is not None:
        worker.deadline = now + code.timeout + LOADING_LIMIT
    devices = share.devices if share else ()
    return PostChunk(worker.id, announced, entries, devices, timed, joined)
