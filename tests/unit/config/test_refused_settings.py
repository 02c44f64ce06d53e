"""A setting that cannot be used is refused with its place and a way out."""

from __future__ import annotations

import pytest

from concurro.config import Config, parse_address
from concurro.errors import AddressError, ConfigError


def load(folder, text, **known):
    (folder / "concurrent.toml").write_text(text)
    config = Config.load(folder, environ={})
    config.check(known)


def test_an_unknown_option_is_refused_with_line_and_closest_name(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, '[master]\n\nlisen = "tcp://127.0.0.1:1"\n')

    assert caught.value.where == f"{tmp_path / 'concurrent.toml'}:3"
    assert "unknown option 'lisen' in [master]; did you mean 'listen'?" in str(caught.value)


def test_an_unknown_table_is_refused_with_line_and_closest_name(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "[slave]\nworkers = 1\n\n[fastest-frist]\nhalf_life = 1\n", **{"fastest-first": {"half_life"}})

    assert caught.value.where == f"{tmp_path / 'concurrent.toml'}:4"
    assert "did you mean 'fastest-first'?" in str(caught.value)


def test_an_unknown_option_of_a_component_is_refused_with_closest_name(tmp_path):
    with pytest.raises(ConfigError, match=r":2: unknown option 'halflife' in \[fast\]; did you mean 'half_life'\?"):
        load(tmp_path, "[fast]\nhalflife = 1\n", fast={"half_life"})


def test_an_unknown_option_on_the_command_line_is_refused():
    with pytest.raises(ConfigError, match=r"command line: unknown option 'wrkers' in .slave.; did you mean 'workers'"):
        Config.load({}, overrides={"slave.wrkers": 1}, environ={})


def test_fewer_than_no_workers_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"concurrent.toml:2: \[slave\] workers = -1: must be 0 or more"):
        load(tmp_path, "[slave]\nworkers = -1\n")


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"slave.workers": True}, "is not a whole number"),
        ({"slave.workers": 1.5}, "is not a whole number"),
        ({"slave.memory_limit": "2 GiBi"}, "is not a size"),
        ({"slave.memory_limit": -1}, "must be 0 or more"),
        ({"slave.resources": {"gpu": "one"}}, "gives gpu = 'one'"),
        ({"slave.resources": {"": 1}}, "has no name for the amount 1"),
        ({"master.grace": "soon"}, "is not a duration"),
        ({"master.grace": float("nan")}, "is not a finite number"),
        ({"master.standalone": 1}, "is not true or false"),
        ({"application.ship": "module"}, "is not a list of texts"),
        ({"master.journal": 3}, "is not a path"),
        ({"components": {"a.*": "yes"}}, "is not true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_reason(setting, reason):
    with pytest.raises(ConfigError, match=reason):
        Config.load(setting, environ={})


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:8081", "it has no scheme"),
        ("http://127.0.0.1:8081", "scheme 'http' is not known"),
        ("tcp://127.0.0.1", "the port is missing"),
        ("tcp://[::1]", "the port is missing"),
        ("tcp://:8081", "the host is missing"),
        ("tcp://::1:8081", "an IPv6 number stands in brackets"),
        ("tcp://host:http", "port 'http' is not a number"),
        ("tcp://host:-1", "port '-1' is not a number"),
        ("tcp://host:65536", "port 65536 is above 65535"),
        ("tcp://ho st:1", "'ho st' is not a host"),
        ("tcp://user@host:1", "is not a host"),
        ("ipc://", "the path is missing"),
        ("ipc:///" + "x" * 120, "needs less than 100"),
        ("", "it has no scheme"),
    ],
)
def test_a_malformed_address_is_refused_naming_what_is_wrong(address, reason):
    with pytest.raises(AddressError) as caught:
        Config.load({"master.listen": address}, environ={})

    assert reason in str(caught.value)
    assert "[master] listen" in str(caught.value)


@pytest.mark.parametrize("text", ["tcp://127.0.0.1:8081", "tcp://[::1]:0", "tcp://*:1", "ipc:///run/master"])
def test_a_well_formed_address_reads_the_same_again(text):
    assert str(parse_address(text)) == text


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"concurrent.toml:2: not TOML"):
        load(tmp_path, "[slave]\nworkers = \n")


def test_a_key_outside_of_a_table_is_refused_with_its_line(tmp_path):
    with pytest.raises(ConfigError, match=r"concurrent.toml:2: 'workers' stands outside of a table"):
        load(tmp_path, "# first\nworkers = 1\n")


def test_a_file_that_does_not_exist_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.toml: there is no such file"):
        Config.load(tmp_path / "nowhere.toml")


def test_a_folder_without_a_file_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"the folder has no concurrent.toml"):
        Config.load(tmp_path)


def test_asking_for_an_option_that_does_not_exist_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'listen'"):
        Config.load({}, environ={})["master.lisen"]
