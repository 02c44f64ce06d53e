"""Values of scripts on their way between processes of a job."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from concurro import ApplicationNode, NotPicklableError
from concurro_tagqueue import jobs, values
from concurro_tagqueue.assignment import Assignment
from concurro_tagqueue.values import dump_value, load_value

SHAPES = """
class Point:
    def __init__(self, x):
        self.x = x
"""


@pytest.fixture
def application(tmp_path):
    """Give an application that never connects; what lies in `tmp_path` travels."""
    application = ApplicationNode("tcp://127.0.0.1:1", config={"application": {"ship": [str(tmp_path)]}})
    yield application
    application.close()


@pytest.fixture
def elsewhere():
    """Give an application of another process."""
    application = ApplicationNode("tcp://127.0.0.1:1", config={})
    yield application
    application.close()


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """Give a module that lies beside a script."""
    (tmp_path / "tagged_shapes.py").write_text(SHAPES)
    monkeypatch.syspath_prepend(tmp_path)
    import tagged_shapes

    yield tagged_shapes
    sys.modules.pop("tagged_shapes", None)


def test_a_value_without_classes_of_scripts_is_packed_once(application):
    packed = dump_value(application, [1, "text", {"a": 2.5}])

    assert packed == application.dumps([1, "text", {"a": 2.5}])
    assert load_value(application, packed) == [1, "text", {"a": 2.5}]


def test_a_value_is_of_the_class_that_its_taker_imports(application, elsewhere, shapes):
    packed = dump_value(application, shapes.Point(3))

    point = load_value(elsewhere, packed)

    assert (type(point), point.x) == (shapes.Point, 3)
    assert type(elsewhere.loads(application.dumps(shapes.Point(3)))) is not shapes.Point


def test_its_class_travels_to_a_taker_that_cannot_import_it(application, elsewhere, shapes, monkeypatch):
    packed = dump_value(application, shapes.Point(3))
    monkeypatch.undo()
    del sys.modules["tagged_shapes"]

    point = load_value(elsewhere, packed)

    assert (type(point).__name__, point.x) == ("Point", 3)


@pytest.fixture
def main_class(monkeypatch):
    """Give a class of this process's script."""
    point = type("TaggedPoint", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "TaggedPoint", point, raising=False)
    return point


@pytest.mark.parametrize(("theirs", "same"), [("script-1", True), ("script-2", False), (None, False)])
def test_a_class_of_a_script_is_that_of_a_taker_with_the_same_script(
    theirs, same, application, elsewhere, main_class, monkeypatch
):
    monkeypatch.setattr(values, "script_digest", lambda: "script-1")
    packed = dump_value(application, main_class())
    monkeypatch.setattr(values, "script_digest", lambda: theirs)

    loaded = load_value(elsewhere, packed)

    assert type(loaded).__name__ == "TaggedPoint"
    assert (type(loaded) is main_class) is same


def test_what_does_not_pickle_is_named(application):
    with pytest.raises(NotPicklableError, match="generator"):
        dump_value(application, {"rows": (n for n in range(3))})


def test_run_job_in_a_slave_of_another_job_does_nothing(monkeypatch):
    monkeypatch.setattr(jobs, "assigned", lambda: Assignment("other", "ipc:///master", {}))

    assert jobs.run_job("job", None, None) is None


def test_run_job_in_a_slave_of_the_job_works_and_ends_the_process(monkeypatch):
    monkeypatch.setattr(jobs, "assigned", lambda: Assignment("job", "ipc:///master", {}))
    made = []

    def slave_class(label, watchdog_period):
        return SimpleNamespace(start=lambda: made.append((label, watchdog_period)))

    with pytest.raises(SystemExit) as ended:
        jobs.run_job("job", None, slave_class, 5.0)

    assert (made, ended.value.code) == ([("job", 5.0)], None)
