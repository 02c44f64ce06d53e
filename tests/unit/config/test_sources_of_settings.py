"""Where settings are found, and which of them wins."""

from __future__ import annotations

import pickle

import pytest

from concurro.config import Config
from concurro.errors import ConfigError

FILE = """\
[master]
listen = "tcp://file:1"
strategy = "round-robin"

[slave]
workers = 2
resources = { gpu = 1 }
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "concurrent.toml").write_text(FILE)
    return tmp_path


def test_command_line_beats_environment_beats_file_beats_default(folder):
    environ = {"CONCURRENT_MASTER_LISTEN": "tcp://environment:2", "CONCURRENT_MASTER_STRATEGY": "from-environment"}

    config = Config.load(folder, overrides={"master.listen": "tcp://override:3"}, environ=environ)

    assert config["master.listen"] == "tcp://override:3"
    assert config["master.strategy"] == "from-environment"
    assert config["slave.workers"] == 2
    assert config["master.scheduler"] == "rated"


def test_each_value_tells_where_it_comes_from(folder):
    environ = {"CONCURRENT_SLAVE_TASK_MANAGER": "inline"}

    config = Config.load(folder, overrides={"master.standalone": True}, environ=environ)

    assert config.origin("slave.resources") == f"{folder / 'concurrent.toml'}:7"
    assert config.origin("slave.task_manager") == "environment CONCURRENT_SLAVE_TASK_MANAGER"
    assert config.origin("master.standalone") == "command line"
    assert config.origin("master.grace") == "default"


def test_an_option_that_was_not_given_on_the_command_line_overrides_nothing(folder):
    config = Config.load(folder, overrides={"slave.workers": None}, environ={})

    assert config["slave.workers"] == 2


def test_texts_from_environment_and_command_line_are_parsed():
    environ = {
        "CONCURRENT_SLAVE_WORKERS": "3",
        "CONCURRENT_MASTER_STANDALONE": "yes",
        "CONCURRENT_SLAVE_RESOURCES": "gpu=1, disk=2.5",
        "CONCURRENT_APPLICATION_SHIP": "one, two",
    }

    config = Config.load({}, overrides={"master.grace": "2 min"}, environ=environ)

    assert config["slave.workers"] == 3
    assert config["master.standalone"] is True
    assert config["slave.resources"] == {"gpu": 1.0, "disk": 2.5}
    assert config["application.ship"] == ["one", "two"]
    assert config["master.grace"] == 120.0


def test_a_text_in_a_file_is_not_taken_for_a_number():
    with pytest.raises(ConfigError, match=r"\[slave\] workers = '2': is not a whole number"):
        Config.load({"slave": {"workers": "2"}}, environ={})


def test_a_mapping_may_be_nested_or_dotted():
    config = Config.load({"master.listen": "ipc:///run/m", "slave": {"workers": 1}}, environ={})

    assert (config["master.listen"], config["slave.workers"]) == ("ipc:///run/m", 1)


def test_the_working_directory_is_searched_before_the_users_folder(tmp_path, monkeypatch):
    user = tmp_path / "user" / "concurrent"
    user.mkdir(parents=True)
    (user / "concurrent.toml").write_text("[slave]\nworkers = 7\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "user")}

    from_user = Config.load(environ=environ)
    (here / "concurrent.toml").write_text("[slave]\nworkers = 5\n")
    from_here = Config.load(environ=environ)

    assert from_user["slave.workers"] == 7
    assert from_here["slave.workers"] == 5
    assert from_here.plugin_folders == (here / "plugins", user / "plugins")


def test_relative_paths_start_at_the_folder_of_their_file(folder):
    (folder / "concurrent.toml").write_text('[master]\njournal = "journal"\n')

    config = Config.load(folder / "concurrent.toml", environ={})

    assert config["master.journal"] == folder / "journal"


def test_an_empty_path_and_an_empty_size_are_none():
    config = Config.load({}, environ={})

    assert config["master.journal"] is None
    assert config["slave.memory_limit"] is None


def test_travels_as_plain_values_with_origins_and_plugin_folders(folder):
    environ = {"CONCURRENT_MASTER_STRATEGY": "from-environment"}
    config = Config.load(folder, overrides={"slave.memory_limit": "2 GiB"}, environ=environ)

    arrived = Config.load(pickle.loads(pickle.dumps(config.to_plain())), environ={"CONCURRENT_SLAVE_WORKERS": "9"})

    assert arrived["slave.memory_limit"] == 2 * 2**30
    assert arrived["slave.workers"] == 9
    assert arrived.origin("master.listen") == config.origin("master.listen")
    assert arrived.file == config.file
    assert arrived.plugin_folders == config.plugin_folders


def test_travels_with_the_environment_of_where_it_was_read(folder):
    config = Config.load(folder, environ={"CONCURRENT_SLAVE_WORKERS": "9"})

    assert Config.load(config.to_plain())["slave.workers"] == 9
    assert pickle.loads(pickle.dumps(config))["slave.workers"] == 9


def test_overrides_of_a_config_come_on_top_of_its_own(folder):
    first = Config.load(folder, overrides={"slave.workers": 4}, environ={})

    second = Config.load(first, overrides={"master.listen": "tcp://later:1"})

    assert (second["slave.workers"], second["master.listen"]) == (4, "tcp://later:1")
    assert first["master.listen"] == "tcp://file:1"


def test_the_table_of_a_component_is_given_as_written(folder):
    config = Config.load({"fastest-first": {"half_life": 3}}, environ={})

    assert config["fastest-first.half_life"] == 3
    assert config.get("fastest-first.other", "fallback") == "fallback"
    assert config.table("fastest-first") == {"half_life": 3}


def test_globs_of_components_keep_their_dots(folder):
    (folder / "concurrent.toml").write_text('[components]\n"a.b.*" = true\nc.d = false\n')

    config = Config.load(folder, environ={})

    assert config.table("components") == {"a.b.*": True, "c.d": False}
    assert config.origin("components.a.b.*").endswith("concurrent.toml:2")
