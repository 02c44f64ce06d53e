"""What a session asks of a task manager of a master.

Each operation answers, parks the answer, or raises what its caller gets. Loop thread only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from concurro import ConfigError
from concurro_tagqueue import asking
from concurro_tagqueue.lines import Choice
from concurro_tagqueue.records import State, TagCounts, Waiter
from concurro_tagqueue.sessions import INLINE, Answer, Form

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro_tagqueue.records import TaggedTask
    from concurro_tagqueue.served import ServedTasks

PAGE = 1000
"""At most so many tasks are drained at once."""


class Operation(NamedTuple):
    """Something that can be asked.

    Attributes:
        begin: Does it: `begin(served, answer, *arguments)`.
        keeps: Whether it changes anything.
        lasts: Whether what it did outlives the session.
    """

    begin: Callable[..., None]
    keeps: bool = True
    lasts: bool = True


def register(served: ServedTasks, answer: Answer, period: float | None, info: str) -> None:
    """Register a process, as long as the session lives."""
    answer.say(served.core.register(served.now(), period, info, answer.session.name))
    served.watch_pings()


def unregister(served: ServedTasks, answer: Answer, process_id: int) -> None:
    """Forget a process."""
    served.core.unregister(process_id)
    answer.say()


def ping(served: ServedTasks, answer: Answer, process_id: int) -> None:
    """Note that a process lives."""
    served.core.ping(process_id, served.now())
    answer.say()


def processes(served: ServedTasks, answer: Answer) -> None:
    """Say who is registered."""
    answer.say([[process_id, process.info] for process_id, process in served.core.processes.items()])


def process_info(served: ServedTasks, answer: Answer, process_id: int) -> None:
    """Say what a process said of itself."""
    answer.say(served.core.process(process_id).info)


def add(  # noqa: PLR0913 - the facts of a request, all of them plain
    served: ServedTasks, answer: Answer, tag: str, requester: int | None, priority: int, values: list[bytes]
) -> None:
    """Put tasks of a tag in line."""
    asking.check_tag(tag)
    asking.check_priority(priority)
    answer.say([served.add(tag, _parts(answer, value), requester, priority) for value in values])


def add_large(  # noqa: PLR0913 - as `add`
    served: ServedTasks, answer: Answer, tag: str, requester: int | None, priority: int, value: int
) -> None:
    """Put a task in line whose parameters came ahead."""
    add(served, answer, tag, requester, priority, [value])  # type: ignore[list-item]


def take(served: ServedTasks, answer: Answer, choice: list[Any], process_id: int | None, timeout: float | None) -> None:
    """Hand out a task, maybe later."""
    wanted, session = _choice(choice), answer.session.name
    task = served.core.take(wanted, process_id, session)
    if task is not None:
        answer.hand(Form.TASK, task)
    else:
        waiter = Waiter(wanted, process_id, session)
        served.core.park_taker(waiter)
        served.park(answer, waiter, timeout, "a task")


def collect(served: ServedTasks, answer: Answer, choice: list[Any], timeout: float | None) -> None:
    """Hand over a result, maybe later."""
    wanted, session = _choice(choice), answer.session.name
    task = served.core.take_result(wanted, session)
    if task is not None:
        answer.hand(Form.RESULT, task)
    else:
        waiter = Waiter(wanted, None, session)
        served.core.park_collector(waiter)
        served.park(answer, waiter, timeout, "a result")


def watch(served: ServedTasks, answer: Answer, tag: str, seen: list[int] | None, timeout: float | None) -> None:
    """Say how many tasks of a tag there are, once that has changed."""
    waiter = Waiter(asking.with_tag(tag), None, answer.session.name, None if seen is None else TagCounts(*seen))
    served.core.watch(tag, waiter)
    if waiter.over:
        answer.say(list(waiter.counts or ()))
    else:
        served.park(answer, waiter, timeout, "a change of the tasks")


def store(served: ServedTasks, answer: Answer, task_id: str, raised: int, value: Any) -> None:
    """Store what a task returned, or raised."""
    served.core.store(task_id, _parts(answer, value), raised=bool(raised))
    answer.say()


def return_task(served: ServedTasks, answer: Answer, task_id: str, process_id: int | None) -> None:
    """Put a running task to the front."""
    served.core.give_back(task_id, process_id)
    answer.say()


def drain(served: ServedTasks, answer: Answer, tag: str) -> None:
    """Hand over the first tasks of a tag, as if they ran here.

    As many as one message takes. `discard` ends them.
    """
    page: list[TaggedTask] = []
    size = 0
    while len(page) < PAGE:
        task = served.core.waiting.first(asking.with_tag(tag))
        size += INLINE if task is None else sum(map(len, task.parameters))
        if task is None or (page and size > INLINE):
            break
        served.core.hand_out(task, answer.session.name)
        page.append(task)
        if len(task.parameters) > 1:
            answer.hand(Form.TASK, task)  # alone, in parts
            return
    answer.hand(Form.TASKS, *page)


def discard(served: ServedTasks, answer: Answer, task_ids: list[str]) -> None:
    """Forget tasks that were drained; say which: others are not held now."""
    held = [served.core.tasks[task_id] for task_id in task_ids if task_id in served.core.tasks]
    held = [task for task in held if task.state is State.RUNNING and task.session == answer.session.name]
    for task in held:
        served.core.discard(task)
    answer.say([task.task_id for task in held])


def counts(served: ServedTasks, answer: Answer) -> None:
    """Say how many tasks there are."""
    answer.say([*served.core.number_of_tasks(), served.core.dropped])


def store_data(served: ServedTasks, answer: Answer, label: str, value: Any) -> None:
    """Store a data item."""
    served.core.store_data({str(label): _parts(answer, value)})
    answer.say()


def retrieve_data(served: ServedTasks, answer: Answer, label: str) -> None:
    """Say what a data item is."""
    answer.say(served.core.retrieve_data(label), Form.VALUE)


def delete_data(served: ServedTasks, answer: Answer, label: str) -> None:
    """Forget a data item."""
    served.core.delete_data(label)
    answer.say()


def terminate(served: ServedTasks, answer: Answer) -> None:
    """End every wait."""
    served.core.terminate()
    answer.say()


OPERATIONS = {
    "add": Operation(add),
    "add_large": Operation(add_large),
    "collect": Operation(collect),
    "counts": Operation(counts, keeps=False),
    "delete_data": Operation(delete_data),
    "discard": Operation(discard),
    "drain": Operation(drain, lasts=False),
    "ping": Operation(ping, keeps=False),
    "process_info": Operation(process_info, keeps=False),
    "processes": Operation(processes, keeps=False),
    "register": Operation(register, lasts=False),
    "retrieve_data": Operation(retrieve_data, keeps=False),
    "return_task": Operation(return_task),
    "store": Operation(store),
    "store_data": Operation(store_data),
    "take": Operation(take, lasts=False),
    "terminate": Operation(terminate),
    "unregister": Operation(unregister),
    "watch": Operation(watch, keeps=False),
}


def _choice(plain: list[Any]) -> Choice:
    tags, pattern = plain
    if pattern is not None:
        return asking.matching(pattern)
    return Choice() if tags is None else asking.with_tags(tags)


def _parts(answer: Answer, value: Any) -> list[bytes]:
    """Return the parts of a value that came along, or ahead.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(value, bytes):
        return [value]
    ahead = answer.session.ahead.pop(answer.number, [])
    if value != len(ahead) or not ahead:
        message = f"a value of {value!r} parts was announced, and {len(ahead)} came"
        raise ConfigError(message)
    return ahead
