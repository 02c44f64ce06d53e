"""A task system is found in a file, or by name, or the answer says what is there."""

from __future__ import annotations

import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from concurro import Environment
from concurro.cli.loading import PRIVATE_PREFIX, find_system, load_file
from concurro.cli.outcomes import CommandFailure

if TYPE_CHECKING:
    from pathlib import Path

JOB = """
from concurro import ITaskSystem

class {name}(ITaskSystem):
    def generate_tasks(self, master): return ()
    def task_finished(self, master, task, result, error): pass
    def is_complete(self, master): return True
    def gather_result(self, master): return None, None
"""


@pytest.fixture(autouse=True)
def imports_as_before():
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def environment() -> Environment:
    return Environment({})


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(dedent(text), encoding="utf-8")
    return file


def failure_of(target: object, environment: Environment) -> str:
    with pytest.raises(CommandFailure) as caught:
        find_system(str(target), environment)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_the_one_system_of_a_file_is_found(tmp_path, environment):
    file = write(tmp_path, "only_job.py", JOB.format(name="OnlyJob"))

    found = find_system(str(file), environment)

    assert found.system_class.__name__ == "OnlyJob"
    assert found.system_class.__module__ == "only_job"
    assert found.main_file == str(file)


def test_a_file_imports_its_neighbours(tmp_path, environment):
    write(tmp_path, "neighbour_of_job.py", JOB.format(name="Neighbour"))
    file = write(tmp_path, "main_job.py", "from neighbour_of_job import Neighbour\nclass Mine(Neighbour): pass\n")

    assert find_system(str(file), environment).system_class.__name__ == "Mine"


def test_a_class_that_is_only_imported_can_be_named(tmp_path, environment):
    write(tmp_path, "another_neighbour.py", JOB.format(name="Neighbour"))
    file = write(tmp_path, "importing_job.py", "from another_neighbour import Neighbour\n")

    unnamed = failure_of(file, environment)
    named = find_system(f"{file}:Neighbour", environment)

    assert "defines no task system" in unnamed
    assert f"concurrent run {file}:Neighbour" in unnamed
    assert named.system_class.__name__ == "Neighbour"


def test_several_systems_are_listed(tmp_path, environment):
    file = write(tmp_path, "two_jobs.py", JOB.format(name="First") + JOB.format(name="Second"))

    text = failure_of(file, environment)

    assert text == f"{file} defines 2 task systems; name one of them:" + "".join(
        f"\n  concurrent run {file}:{name}" for name in ("First", "Second")
    )


def test_a_base_that_is_not_complete_does_not_count(tmp_path, environment):
    text = JOB.format(name="Job").replace("(ITaskSystem)", "(Abstract)")
    file = write(tmp_path, "based_job.py", "from concurro import TaskSystem\nclass Abstract(TaskSystem): pass\n" + text)

    assert find_system(str(file), environment).system_class.__name__ == "Job"


def test_an_incomplete_system_is_told_what_it_lacks(tmp_path, environment):
    file = write(
        tmp_path,
        "half_job.py",
        "from concurro import TaskSystem\nclass Half(TaskSystem):\n    def is_complete(self, master): return True\n",
    )

    assert "Half does not write generate_tasks, task_finished, gather_result" in failure_of(file, environment)
    assert "Half in" in failure_of(f"{file}:Half", environment)


def test_a_file_without_a_system_is_refused(tmp_path, environment):
    file = write(tmp_path, "no_job.py", "answer = 42\n")

    assert failure_of(file, environment) == f"{file} defines no task system: no class in it implements ITaskSystem"


def test_an_unknown_class_is_answered_with_the_closest(tmp_path, environment):
    file = write(tmp_path, "named_job.py", JOB.format(name="Search"))

    assert failure_of(f"{file}:Serch", environment) == f"{file} has no class Serch; did you mean 'Search'?"


def test_something_else_of_that_name_is_no_system(tmp_path, environment):
    file = write(tmp_path, "other_job.py", JOB.format(name="Search") + "limit = 3\n")

    assert failure_of(f"{file}:limit", environment).startswith(f"limit in {file} is no task system")


def test_a_missing_file_is_answered_with_the_closest(tmp_path, environment):
    write(tmp_path, "queens.py", "")

    missing = tmp_path / "quens.py"

    assert failure_of(missing, environment) == f"there is no file {missing}; did you mean {tmp_path / 'queens.py'}?"
    assert "there is no folder" in failure_of(tmp_path / "nowhere" / "job.py", environment)
    assert "is a folder" in failure_of(f"{tmp_path}/", environment)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import no_such_module_anywhere\n", "No module named 'no_such_module_anywhere'"),
        ("def broken(:\n", "SyntaxError"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_file_that_does_not_import_shows_its_own_traceback(tmp_path, environment, text, expected):
    file = write(tmp_path, "broken_job.py", text)

    message = failure_of(file, environment)

    assert message.startswith(f"{file} does not import:")
    assert expected in message
    assert "cli/loading.py" not in message
    assert "importlib" not in message
    assert "broken_job" not in sys.modules


def test_a_file_called_as_another_module_gets_a_private_name(tmp_path):
    file = write(tmp_path, "colorsys.py", "answer = 42\n")

    module = load_file(file)

    assert module.__name__ == PRIVATE_PREFIX + "colorsys"
    assert module.answer == 42


def test_a_file_whose_name_is_no_identifier_can_be_loaded(tmp_path):
    assert load_file(write(tmp_path, "my-job.2.py", "answer = 42\n")).answer == 42


def test_an_unknown_name_is_answered_with_the_closest():
    environment = Environment({})
    environment.declare(_component())

    message = failure_of("prime-serch", environment)

    assert "'prime-serch'" in message
    assert "did you mean 'prime-search'?" in message


def test_a_name_finds_a_component_and_its_table():
    environment = Environment({})
    environment.declare(_component())

    found = find_system("prime-search", environment)

    assert found.system_class.__name__ == "PrimeSearch"
    assert found.main_file is None
    assert found.defaults == {}


def _component():
    from concurro import TaskSystem

    class PrimeSearch(TaskSystem):
        """Find primes."""

        name = "prime-search"

        def generate_tasks(self, master):
            return ()

        def task_finished(self, master, task, result, error):
            pass

        def is_complete(self, master):
            return True

        def gather_result(self, master):
            return None, None

    return PrimeSearch
