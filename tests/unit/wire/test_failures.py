"""Failures: what a task raised, however badly it behaves, as `task_finished` sees it."""

from __future__ import annotations

import concurrent.futures
import pickle
import sys
import threading
import tracemalloc

import msgpack
import pytest

from concurro.errors import (
    RemoteTraceback,
    ResultNotPicklable,
    TaskCancelled,
    TaskError,
    TaskMemoryExceeded,
    TaskTimeout,
    WorkerLost,
)
from concurro.executor import Call, FunctionCall, call_all
from concurro.ids import Failure, Outcome
from concurro.nodes.pushed import new_task
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.failures import describe, describe_task, explain_import, original, rebuild
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling


class TwoArguments(Exception):  # noqa: N818 - a user's name
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class ExitsOnReduce(Exception):  # noqa: N818 - a user's name
    def __reduce__(self):
        sys.exit(0)


class ExitsOnLoad(Exception):  # noqa: N818 - a user's name
    def __reduce__(self):
        return sys.exit, (0,)


class Mute(Exception):  # noqa: N818 - a user's name
    def __str__(self):
        raise KeyboardInterrupt


class OneOfTwo(Exception):  # noqa: N818 - a user's name
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


class Holder(Exception):  # noqa: N818 - a user's name
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class Frozen(Exception):  # noqa: N818 - a user's name
    def __setattr__(self, name, value):
        message = "frozen"
        raise AttributeError(message)


def caught(make):
    try:
        make()
    except BaseException as error:  # noqa: BLE001 - whatever is made
        return error
    raise AssertionError


def raised(error):
    def raise_it():
        raise error

    return caught(raise_it)


def travelled(packer, error, outcome=Outcome.RAISED):
    failure = describe(error, trim=1, dumps=packer.dumps_whole, loads=packer.loads_whole)
    plain = msgpack.unpackb(msgpack.packb(list(failure)))
    return rebuild("s:1", outcome, plain, "slave-1", 2, packer.loads_whole)


def test_an_error_arrives_with_its_text_its_frames_and_itself(packer):
    error = travelled(packer, raised(ValueError("bad n")))

    assert (error.task_id, error.type_name, error.message) == ("s:1", "ValueError", "bad n")
    assert (error.slave_id, error.attempt) == ("slave-1", 2)
    assert "raise_it" in error.traceback
    assert "in caught" not in error.traceback
    assert type(error.cause) is ValueError
    assert error.cause.args == ("bad n",)


@pytest.mark.parametrize("make", [lambda: TwoArguments(1, 2), lambda: ExitsOnReduce("x"), lambda: ExitsOnLoad("x")])
def test_an_exception_that_does_not_survive_travels_as_text(packer, make):
    error = travelled(packer, raised(make()))

    assert error.type_name == type(make()).__name__
    assert error.cause is None
    assert error.type_name in error.traceback


@pytest.mark.parametrize(
    ("exception", "why"),
    [
        (OneOfTwo("bad n", 2), "OneOfTwo cannot be rebuilt: TypeError: OneOfTwo.__init__() missing 1 required"),
        (Holder("bad n"), "Holder cannot travel: value.lock is a _thread.lock ("),
        (ExitsOnReduce("bad n"), "ExitsOnReduce cannot travel: "),
        (ExitsOnLoad("bad n"), "ExitsOnLoad cannot be rebuilt: SystemExit: 0"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_why_an_exception_did_not_survive_stands_behind_its_message(packer, exception, why):
    error = travelled(packer, raised(exception))

    assert error.message.startswith(f"bad n ({why}")
    assert error.message in str(error)


def test_why_an_exception_could_not_be_rebuilt_here_stands_behind_its_message(packer):
    def load(_):
        message = "No module named 'colours'"
        raise ModuleNotFoundError(message)

    failure = describe(raised(ValueError("bad n")), dumps=packer.dumps_whole, loads=packer.loads_whole)

    error = rebuild("s:1", Outcome.RAISED, failure, "slave-1", 1, load, "in this process")

    why = "ValueError, in this process, cannot be rebuilt: ModuleNotFoundError: No module named 'colours'"
    assert error.message == f"bad n ({why})"
    assert error.cause is None


def test_an_exception_that_arrives_has_its_own_message_only(packer):
    assert travelled(packer, raised(ValueError("bad n"))).message == "bad n"


def test_an_exception_that_cannot_say_its_message_is_described(packer):
    error = travelled(packer, raised(Mute()))

    assert error.type_name == "Mute"
    assert "KeyboardInterrupt" in error.message
    assert "Mute" in error.traceback


def test_exits_interrupts_and_deep_recursion_are_failures(packer):
    def endless():
        endless()

    errors = [travelled(packer, caught(each)) for each in (lambda: sys.exit(0), endless)]
    interrupted = travelled(packer, raised(KeyboardInterrupt()))

    assert [error.type_name for error in [*errors, interrupted]] == [
        "SystemExit",
        "RecursionError",
        "KeyboardInterrupt",
    ]
    assert all(error.traceback for error in errors)


def test_a_local_exception_class_comes_back_as_itself():
    class LocalError(Exception):
        pass

    worker = Packer(BlobStore(), Travelling())

    error = travelled(worker, raised(LocalError("x")))

    assert type(error.cause) is LocalError


def test_lone_surrogates_and_long_texts_pass(packer):
    error = travelled(packer, raised(ValueError("\ud800" + "x" * 1_000_000)))

    assert error.message.startswith("\\ud800")
    assert "left out" in error.message
    assert len(error.message) < 200_000
    assert error.cause is None


def test_the_last_frame_stays_however_much_is_trimmed():
    failure = describe(raised(ValueError("x")), trim=99)

    assert "raise_it" in failure.traceback


@pytest.mark.parametrize(
    ("outcome", "cls", "builtin"),
    [
        (Outcome.TIMEOUT, TaskTimeout, TimeoutError),
        (Outcome.LOST, WorkerLost, RuntimeError),
        (Outcome.SLAVE_LOST, WorkerLost, RuntimeError),
        (Outcome.MEMORY, TaskMemoryExceeded, MemoryError),
        (Outcome.CANCELLED, TaskCancelled, concurrent.futures.CancelledError),
        (Outcome.NOT_PICKLABLE, ResultNotPicklable, TypeError),
    ],
)
def test_our_own_failures_have_classes_of_their_own(outcome, cls, builtin):
    error = rebuild("s:1", outcome, Failure("x", "killed"), None, 1)

    assert type(error) is cls
    assert isinstance(error, builtin)
    assert error.type_name == cls.__name__
    assert original(error) is error


def test_a_future_raises_the_original_with_the_remote_traceback(packer):
    error = travelled(packer, raised(ValueError("bad n")))

    exception = original(error)

    assert type(exception) is ValueError
    assert isinstance(exception.__cause__, RemoteTraceback)
    assert "raise_it" in str(exception.__cause__)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_future_raises_ours_when_the_original_would_end_the_program(packer, kind):
    error = travelled(packer, raised(kind(0)))

    assert original(error) is error
    assert isinstance(error.cause, kind)
    assert f"{kind.__name__}: 0" in str(error)


def test_a_future_raises_ours_when_the_original_takes_no_cause():
    error = TaskError("s:1", "Frozen", "x", cause=Frozen())

    assert original(error) is error


def test_an_import_error_says_module_slave_and_what_to_do():
    def import_it():
        import no_such_module_here.part  # noqa: F401

    explained = explain_import(caught(import_it), "node7-1")

    assert isinstance(explained, ModuleNotFoundError)
    assert explained.name == "no_such_module_here"
    assert "'no_such_module_here'" in str(explained)
    assert "slave node7-1" in str(explained)
    assert "[application] ship = ['no_such_module_here']" in str(explained)


SEVERAL = "call({0: None, 1: None, 2: None, 3: None, ...}, frozenset({7}), set())"


class Loud:
    """Must not be asked how it looks."""

    def __repr__(self):
        raise AssertionError

    __lt__ = __repr__

    def __call__(self):
        message = "wrong"
        raise ValueError(message)


def test_a_traceback_begins_with_the_first_frame_of_the_user():
    call = new_task(Call, {"call": (Loud(), (), {})})

    text = describe(caught(call), trim=1).traceback

    assert "executor.py" not in text
    assert "in __call__\n    raise ValueError(message)" in text


@pytest.mark.parametrize(
    "call",
    [
        new_task(Call, {"call": (sys.exit, (3,), {})}),
        new_task(Call, {"call": (call_all, (sys.exit, [3]), {})}),
        new_task(type("Exits", (FunctionCall,), {"function": sys.exit}), {"args": (3,)}),
    ],
    ids=["once", "many", "class"],
)
def test_what_a_call_of_no_python_raised_shows_no_frames_of_ours(call):
    assert describe(caught(call), trim=1).traceback == "SystemExit: 3\n"


def test_a_traceback_that_is_all_ours_stays():
    text = describe(caught(lambda: rebuild("job:1", 99, [], None, 1)), trim=2).traceback

    assert "failures.py" in text


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (Task("square-4"), "square-4"),
        (Task("x" * 500), "x" * 77 + "..."),
        (
            new_task(Task, {"name": "scale", "n": 4, "mesh": Loud(), "_kept": 1, "attempt": 2}),
            "scale (n=4, mesh=<Loud>)",
        ),
        (new_task(Task, {"name": "t"} | dict.fromkeys("abcdefgh", 0)), "t (a=0, b=0, c=0, d=0, e=0, f=0, ...)"),
        (new_task(FunctionCall, {"args": (4, "ab"), "kwargs": {"offset": [1, 2]}}), "call(4, 'ab', offset=[1, 2])"),
        (new_task(FunctionCall, {"args": tuple(range(50))}), "call(0, 1, 2, 3, 4, 5, ...)"),
        (new_task(FunctionCall, {"args": (Loud(), 10**5000)}), "call(<Loud>, <int>)"),
        (new_task(Call, {"call": (divmod, (1, 0), {})}), "divmod(1, 0)"),
        (new_task(Call, {"call": (Loud(), ([Loud()],), {})}), "Loud([<Loud>])"),
        (new_task(FunctionCall, {"args": ({Loud(): 1, "b": {}}, {Loud()})}), "call({<Loud>: 1, 'b': {}}, {<Loud>})"),
        (new_task(FunctionCall, {"args": (dict.fromkeys(range(9)), frozenset({7}), set())}), SEVERAL),
    ],
    ids=range(11),
)
def test_a_task_is_named_with_the_arguments_of_its_call(task, text):
    assert describe_task(task) == text


def test_no_more_of_an_argument_is_printed_than_is_shown():
    task = new_task(FunctionCall, {"args": (bytes(50_000_000), {"frame": b"y" * 50_000_000})})

    tracemalloc.start()
    try:
        text = describe_task(task)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert text.startswith("call(b'\\x00")
    assert most < 1_000_000


def test_what_is_shown_of_a_call_is_bounded():
    task = new_task(FunctionCall, {"args": ([bytes(10_000)] * 1000, "y" * 10_000, {n: str(n) * 99 for n in range(99)})})

    assert len(describe_task(task)) < 1000


def test_an_error_names_task_arguments_attempt_and_slave():
    error = rebuild("job:3", Outcome.RAISED, Failure("KeyError", "'colour'", "Traceback ...\n"), "north", 2)
    error.task = "scale-4 (n=4)"

    again = pickle.loads(pickle.dumps(error))

    assert str(error) == "task job:3, scale-4 (n=4), attempt 2 on slave north: KeyError: 'colour'\nTraceback ...\n"
    assert str(again) == str(error)


def test_the_traceback_of_a_call_says_first_whose_it_is():
    error = rebuild("job:3", Outcome.RAISED, Failure("KeyError", "'colour'", "Traceback ...\n"), "north", 2)
    error.cause, error.task = KeyError("colour"), "scale('colour')"

    text = str(original(error).__cause__)

    assert text == "\nin scale('colour'), task job:3, attempt 2 on slave north\nTraceback ...\n"
    assert pickle.loads(pickle.dumps(error)).task == "scale('colour')"
