"""The doctor where no master is."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from concurro.cli.commands import concurrent_group


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("CONCURRENT_APPLICATION_CONNECT_TIMEOUT", "0.05")

    def call(*arguments):
        run = CliRunner().invoke(concurrent_group, ["doctor", *arguments])
        assert "Traceback" not in run.output
        return run

    return call


def findings(run, topic):
    return [each for each in json.loads(run.stdout)["findings"] if each["topic"] == topic]


def test_it_looks_here_where_no_master_is(invoke, tmp_path):
    run = invoke("--json", "--master", f"ipc://{tmp_path}/nobody")

    (address,) = findings(run, "address")
    record = json.loads(run.stdout)
    assert run.exit_code == 1
    assert (address["where"], address["verdict"]) == ("master", "problem")
    assert "concurrent-master" in address["remedy"]
    assert (record["version"], record["master"], record["slaves"]) == (1, None, {})
    assert record["here"]["versions"]["libzmq"]


def test_it_names_the_file_and_the_variables_in_force(invoke, tmp_path):
    (tmp_path / "concurrent.toml").write_text('[slave]\nworkers = 3\n[components]\n"no.Such" = true\n')

    run = invoke("--json", "--master", f"ipc://{tmp_path}/nobody")

    texts = " ".join(each["text"] for each in findings(run, "configuration"))
    assert f"file in force: {tmp_path}/concurrent.toml" in texts
    assert "CONCURRENT_APPLICATION_CONNECT_TIMEOUT" in texts
    assert [each["verdict"] for each in findings(run, "components")] == ["warning"]


def test_a_wrong_line_of_the_configuration_is_a_problem_with_its_place(invoke, tmp_path):
    (tmp_path / "concurrent.toml").write_text("[master]\nlisten_on = 1\n")

    run = invoke()

    assert run.exit_code == 1
    assert "concurrent.toml:2" in run.stdout
    assert "-> mend that line" in run.stdout


def test_a_key_that_cannot_be_used_is_a_problem(invoke, tmp_path):
    run = invoke("--json", "--keys", str(tmp_path / "missing.key"), "--master", f"ipc://{tmp_path}/nobody")

    (keys,) = findings(run, "keys")
    assert (keys["verdict"], run.exit_code) == ("problem", 1)
    assert "missing.key" in keys["text"]


def test_a_folder_of_a_master_is_told_with_how_many_it_lets_in(invoke, tmp_path):
    CliRunner().invoke(concurrent_group, ["keys", "init", str(tmp_path / "keys")])
    CliRunner().invoke(concurrent_group, ["keys", "add", "slave", "north", str(tmp_path / "keys")])

    run = invoke("--json", "--keys", str(tmp_path / "keys"), "--master", f"ipc://{tmp_path}/nobody")

    assert "which lets 1 in" in findings(run, "keys")[0]["text"]


def test_the_report_sums_up(invoke, tmp_path):
    run = invoke("--master", f"ipc://{tmp_path}/nobody")

    assert run.stdout.startswith("here\n  ok       versions: python 3.")
    assert "\nmaster\n  problem  address: " in run.stdout
    assert run.stdout.splitlines()[-1].startswith("problems: 1, warnings: ")
