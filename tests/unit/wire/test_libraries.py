"""What is said of libraries that differ between two sides, both played here."""

from __future__ import annotations

import pickle
import sys
import types
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from concurro.errors import TaskError
from concurro.execution.task_runner import TaskRunner
from concurro.ids import Outcome
from concurro.nodes.ledger import TaskLedger
from concurro.task import Task
from concurro.wire.blobs import BlobStore
from concurro.wire.failures import original, rebuild
from concurro.wire.libraries import blamed, carry, differences, mentioned, needed_here, version_of
from concurro.wire.payload import Packer
from concurro.wire.travelling import Travelling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Side = Callable[[str], None]

LIBRARY = "solver_of_tests"


class Solve(Task):
    """Has an argument of the library."""

    def __init__(self, name: str, grid: Any = None) -> None:
        super().__init__(name)
        self.grid = grid

    def __call__(self) -> Any:
        """Use what only the newer one has."""
        library = sys.modules[LIBRARY]
        return library.refine(self.grid)


@pytest.fixture
def on_side(monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
    """Give a function that goes to the side where the library has that version; empty for none."""

    def go(version: str) -> None:
        version_of.cache_clear()
        monkeypatch.delitem(sys.modules, LIBRARY, raising=False)
        found = metadata.version

        def version_or_ours(name: str) -> str:
            if name != LIBRARY:
                return found(name)
            if not version:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", version_or_ours)
        monkeypatch.setattr(metadata, "packages_distributions", dict)
        if version:
            library = types.ModuleType(LIBRARY)
            if version.startswith("2"):
                library.Grid = type("Grid", (), {"__module__": LIBRARY})  # type: ignore[attr-defined]
                library.refine = len  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, LIBRARY, library)

    yield go
    version_of.cache_clear()


def packer() -> Packer:
    return Packer(BlobStore(), Travelling())


def attempt(entry: list[Any], announcement: list[Any]) -> tuple[int, Any, Any]:
    runner = TaskRunner("ws-3")
    runner.announce(announcement)
    return runner.run(entry)


def emitted(task: Task, ledger: TaskLedger) -> tuple[list[Any], list[Any]]:
    """Return how a worker gets a task: its lease and the class."""
    ledger.add(task)
    _, classes, ((class_number, payload, *blobs),) = ledger.take()
    announcement = [1, class_number, classes[0][1], classes[0][6], classes[0][7], "s"]
    return [7, 1, class_number, 0, 1, payload, blobs[0] if blobs else None], announcement


def settled(ledger: TaskLedger, answer: tuple[int, Any, Any]) -> Any:
    outcome, value, blobs = answer
    ended = ledger.settle([0, outcome, value, blobs, "ws-3", 1, 1000])
    assert ended is not None
    return ended[2]


def test_a_task_that_does_not_load_names_the_library_on_both_sides(on_side: Side):
    ledger = TaskLedger(packer(), "s", "application")
    on_side("2.1.0")
    entry, announcement = emitted(Solve("solve", sys.modules[LIBRARY].Grid()), ledger)

    on_side("1.26.4")
    answer = attempt(entry, announcement)
    on_side("2.1.0")
    error = settled(ledger, answer)

    assert answer[0] == Outcome.NOT_LOADED
    assert error.type_name == "AttributeError"
    assert f"{LIBRARY} 2.1.0 here, 1.26.4 on slave ws-3" in error.message
    assert f"{LIBRARY} 2.1.0 here, 1.26.4 on slave ws-3" in original(error).__notes__


def test_a_library_that_is_missing_there_is_told_with_the_version_here(on_side: Side):
    ledger = TaskLedger(packer(), "s", "application")
    on_side("2.1.0")
    entry, announcement = emitted(Solve("solve", sys.modules[LIBRARY].Grid()), ledger)

    on_side("")
    answer = attempt(entry, announcement)
    on_side("2.1.0")
    error = settled(ledger, answer)

    assert f"module '{LIBRARY}' cannot be imported on slave ws-3" in error.message
    assert f"[application] ship = ['{LIBRARY}']" in error.message
    assert f"{LIBRARY} 2.1.0 here, not installed on slave ws-3" in error.message


def test_what_an_older_library_lacks_while_a_task_runs_is_told_too(on_side: Side):
    ledger = TaskLedger(packer(), "s")
    on_side("2.1.0")
    entry, announcement = emitted(Solve("solve"), ledger)

    on_side("1.26.4")
    answer = attempt(entry, announcement)
    on_side("2.1.0")
    error = settled(ledger, answer)

    assert answer[0] == Outcome.RAISED
    assert f"{LIBRARY} 2.1.0 in the system's host, 1.26.4 on slave ws-3" in error.message


def test_a_result_that_does_not_load_names_what_it_takes_and_where_to_look(on_side: Side):
    ledger = TaskLedger(packer(), "s", "application")
    on_side("2.1.0")
    ledger.add(Solve("solve"))
    ledger.take()
    payload, blobs = packer().dumps([sys.modules[LIBRARY].Grid()])

    on_side("1.26.4")
    error = settled(ledger, (Outcome.DONE, payload, blobs))

    assert "the result arrived but could not be rebuilt" in error.message
    assert f"({LIBRARY} 1.26.4 here; what slave ws-3 has: concurrent slaves --json)" in error.message


def test_nothing_is_said_of_libraries_that_are_alike(on_side: Side):
    ledger = TaskLedger(packer(), "s", "application")
    on_side("1.26.4")
    entry, announcement = emitted(Solve("solve"), ledger)

    error = settled(ledger, attempt(entry, announcement))

    assert error.message == f"module '{LIBRARY}' has no attribute 'refine'"
    assert not hasattr(error.cause, "__notes__")


def test_another_python_is_told(monkeypatch: pytest.MonkeyPatch):
    error = ValueError("unknown opcode")
    with monkeypatch.context() as there:
        there.setattr(sys, "version_info", (3, 99, 1, "final", 0))
        carry(error, {"msgpack"})

    told = differences(error, "on slave ws-3")

    assert told == f"Python {sys.version_info[0]}.{sys.version_info[1]} here, 3.99 on slave ws-3"


def test_the_modules_of_a_pickle_are_read_without_loading_it():
    by_memo = pickle.dumps([BlobStore, TaskError, BlobStore, "numpy", {"pandas": 1}], 5)
    by_lines = pickle.dumps(TaskError, 0)

    assert mentioned(by_memo) == mentioned(by_lines) == {"concurro"}
    assert mentioned(b"no pickle at all") == set()
    assert mentioned(by_memo[:40]) <= {"concurro"}


def test_only_errors_of_imports_blame_a_module():
    with pytest.raises(ImportError) as missing:
        import no_such_library.part  # noqa: F401
    with pytest.raises(AttributeError) as lacking:
        pytest.no_such_function()  # type: ignore[operator]
    with pytest.raises(AttributeError) as of_an_object:
        [].no_such_method()  # type: ignore[attr-defined]

    assert [blamed(each.value) for each in (missing, lacking, of_an_object)] == [{"no_such_library"}, {"pytest"}, set()]


@pytest.mark.parametrize("carried", [None, 7, {"numpy": 3}, {("x",): ""}, {"Python": None}])
def test_what_a_stranger_put_on_an_error_harms_nobody(carried: Any):
    error = ValueError("x")
    error.__concurro_versions__ = carried  # type: ignore[attr-defined]

    rebuilt = rebuild("s:1", Outcome.RAISED, ["ValueError", "x", "", pickle.dumps(error)], "ws-3", 1, pickle.loads)

    assert rebuilt.message.startswith("x")


def test_modules_without_a_version_are_not_told():
    assert needed_here({"tests"}) == ""
    assert needed_here({"no_such_library"}) == "no_such_library not installed here"
