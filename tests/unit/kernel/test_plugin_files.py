"""Components from files."""

from __future__ import annotations

import sys

import pytest

from concurro.errors import (
    BrokenPluginError,
    ComponentNotFoundError,
    ConfigError,
    ContractError,
    DuplicateComponentError,
)
from concurro.interfaces import ITaskScheduleStrategy, ITaskSystem
from concurro.kernel import Environment, OfferState
from concurro.kernel.discovery import FILE_PLUGIN_PREFIX

SYSTEM = """
from concurro import TaskSystem

class Tides(TaskSystem):
    name = "tides"

    def __init__(self, days: int = 3, place: str = "Brest"):
        self.days = days
"""


def test_a_strategy_in_a_file_is_chosen_by_one_line(write_plugin, tmp_path):
    write_plugin()
    (tmp_path / "concurrent.toml").write_text('[master]\nstrategy = "fastest-first"\n[fastest-first]\nhalf_life = 5\n')

    strategy = Environment(tmp_path).selected(ITaskScheduleStrategy, "master.strategy")

    assert type(strategy).__name__ == "FastestFirst"
    assert strategy.half_life == 5.0


def test_a_file_may_have_the_name_of_a_module(write_plugin, make_environment):
    import queue

    path = write_plugin("queue.py")

    strategy = make_environment(plugins=[path]).get(ITaskScheduleStrategy, "fastest-first")

    assert type(strategy).__module__.startswith(FILE_PLUGIN_PREFIX)
    assert sys.modules["queue"] is queue


def test_a_folder_gives_all_its_files_but_the_private_ones(write_plugin, make_environment):
    write_plugin("one.py", name="one", cls="One")
    folder = write_plugin("two.py", name="two", cls="Two").parent
    write_plugin("_private.py", "raise RuntimeError")

    names = make_environment(plugins=[folder]).names(ITaskScheduleStrategy)

    assert {"one", "two"} < set(names)


def test_imported_classes_and_bases_without_a_name_are_not_offered(write_plugin, make_environment):
    path = write_plugin(
        "more.py",
        """
        from concurro import Component, ITaskScheduleStrategy, implementer
        from concurro.scheduling.strategies import LeastLoaded

        class Shared(Component):
            pass
        """,
    )

    environment = make_environment(plugins=[path])

    assert environment.broken == ()
    assert [offer for offer in environment.offers() if offer.source.startswith(str(path))] == []


def test_a_component_without_a_name_is_broken_and_says_so(write_plugin, make_environment):
    path = write_plugin(
        text="""
        from concurro import Component, ITaskScheduleStrategy, implementer

        @implementer(ITaskScheduleStrategy)
        class Nameless(Component):
            pass
        """
    )

    (broken,) = make_environment(plugins=[path]).broken

    assert f"{path}:4: Nameless has no name" in broken.reason


def test_a_plugin_that_does_not_import_harms_nobody_else(write_plugin, make_environment):
    path = write_plugin(text="import no_such_module_anywhere\nname = 'fastest-first'\n")

    environment = make_environment(plugins=[path])

    (broken,) = environment.broken
    assert environment.get(ITaskScheduleStrategy, "least-loaded")
    assert broken.state is OfferState.BROKEN
    assert broken.reason.startswith("did not import: ModuleNotFoundError: No module named 'no_such_module_anywhere'")
    assert broken.reason.endswith(f"({path}:1)")


def test_a_plugin_that_does_not_import_is_fatal_when_selected(write_plugin, make_environment):
    path = write_plugin(text="import no_such_module_anywhere\nname = 'fastest-first'\n")
    environment = make_environment(plugins=[path], **{"fastest-first": {"half_life": 1}})

    with pytest.raises(BrokenPluginError, match=r"'fastest-first': .*did not import") as caught:
        environment.get(ITaskScheduleStrategy, "fastest-first")

    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("text", ["def broken(:\n", "raise SystemExit(0)\n", "1 / 0\n"])
def test_any_way_not_to_import_is_broken_and_fatal_with_strict_plugins(write_plugin, make_environment, text):
    path = write_plugin(text=text)

    (broken,) = make_environment(plugins=[path]).broken
    assert f"({path}:1)" in broken.reason
    with pytest.raises(BrokenPluginError, match="did not import"):
        make_environment(plugins=[path], strict_plugins=True)


def test_faults_of_a_plugin_are_listed_with_their_lines(write_plugin, make_environment):
    path = write_plugin(
        text="""
        from concurro import Component, ITaskScheduleStrategy, implementer

        @implementer(ITaskScheduleStrategy)
        class Sloppy(Component):
            name = "sloppy"

            def setup(self, scheduler, node):
                pass

            def rate(self, slave):
                return 0.0
        """
    )
    environment = make_environment(plugins=[path])

    (broken,) = environment.broken
    with pytest.raises(ContractError) as caught:
        environment.get(ITaskScheduleStrategy, "sloppy")

    assert caught.value.faults == broken.faults
    assert any("get_next_slave(task=None, slaves=None) of ITaskSch" in fault for fault in broken.faults)
    assert any(f"{path}:8: Sloppy.setup: argument 2 is called 'node' instead" in fault for fault in broken.faults)


def test_two_files_of_one_name_are_refused_naming_both_when_it_is_selected(write_plugin, make_environment):
    first = write_plugin("first.py")
    second = write_plugin("second.py", cls="Other")
    environment = make_environment(plugins=[first, second])

    with pytest.raises(DuplicateComponentError) as caught:
        environment.get(ITaskScheduleStrategy, "fastest-first")

    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    assert environment.get(ITaskScheduleStrategy, "round-robin")


def test_a_file_does_not_silently_replace_a_built_in(write_plugin, make_environment):
    path = write_plugin(name="least-loaded")

    with pytest.raises(DuplicateComponentError, match="built-in"):
        make_environment(plugins=[path]).get(ITaskScheduleStrategy, "least-loaded")


def test_switching_one_of_two_off_settles_it(write_plugin, make_environment):
    path = write_plugin(name="least-loaded")
    rules = {"concurro.scheduling.strategies.LeastLoaded": False}

    strategy = make_environment(plugins=[path], components=rules).get(ITaskScheduleStrategy, "least-loaded")

    assert type(strategy).__module__.startswith(FILE_PLUGIN_PREFIX)


def test_the_same_file_is_the_same_class_and_a_changed_one_another(write_plugin, make_environment):
    path = write_plugin()
    first = make_environment(plugins=[path]).factory(ITaskScheduleStrategy, "fastest-first")

    again = make_environment(plugins=[path]).factory(ITaskScheduleStrategy, "fastest-first")
    path.write_text(path.read_text() + "\n# changed\n")
    changed = make_environment(plugins=[path]).factory(ITaskScheduleStrategy, "fastest-first")

    assert again is first
    assert changed is not first


def test_a_path_that_does_not_exist_is_refused(make_environment, tmp_path):
    with pytest.raises(ConfigError, match=r"nothing.py': there is no such file or folder"):
        make_environment(plugins=[tmp_path / "nothing.py"])


# Task systems


def test_a_task_system_is_found_by_name_and_its_table_gives_defaults(write_plugin, make_environment):
    path = write_plugin(text=SYSTEM)
    environment = make_environment(plugins=[path], tides={"days": 9})

    assert environment.task_system("tides").__name__ == "Tides"
    assert environment.system_defaults("tides") == {"days": 9}
    assert [offer.name for offer in environment.offers(ITaskSystem)] == ["tides"]


def test_a_key_that_is_no_parameter_of_the_system_is_refused(write_plugin, make_environment):
    path = write_plugin(text=SYSTEM)

    with pytest.raises(ConfigError, match=r"unknown option 'day' in \[tides\]; did you mean 'days'"):
        make_environment(plugins=[path], tides={"day": 9})


def test_an_unknown_task_system_names_what_exists(write_plugin, make_environment):
    path = write_plugin(text=SYSTEM)

    with pytest.raises(ComponentNotFoundError, match="no ITaskSystem is called 'tide'; did you mean 'tides'"):
        make_environment(plugins=[path]).task_system("tide")


def test_a_system_that_inherits_from_the_interface_is_found_too(write_plugin, make_environment):
    path = write_plugin(text=SYSTEM.replace("TaskSystem", "ITaskSystem"))

    assert make_environment(plugins=[path]).task_system("tides")(days=1).days == 1


def test_what_a_file_defines_travels_by_value():
    from concurro.wire import travelling

    assert travelling.FILE_PLUGIN_PREFIX == FILE_PLUGIN_PREFIX
