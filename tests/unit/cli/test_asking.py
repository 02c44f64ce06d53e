"""What commands say when the master does not know what they ask for."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from click.testing import CliRunner

from concurro import MasterUnreachable
from concurro.cli.asking import ask_about
from concurro.cli.commands import concurrent_group
from concurro.cli.outcomes import CommandFailure
from concurro.cli.reporting.command import report_command


class Application:
    """Is connected to a master that knows no system."""

    def __init__(self, status):
        self._status = status

    def request(self, name, arguments):
        """Answer at once."""
        answer = Future()
        found = self._status if name == "status" else LookupError(f"no system {arguments[0]}")
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)
        return answer


@pytest.mark.parametrize(
    ("wanted", "status", "text"),
    [
        ("e760", {"uptime": 7.0}, r"no system e760; this master runs since \d\d:\d\d:\d\d"),
        ("e760:3", {"uptime": 200_000.0}, r"no system e760:3; this master runs since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
        ("e760", MasterUnreachable("gone"), "no system e760"),
        (
            "e760",
            {"uptime": 7.0, "systems": [{"system_id": "e7601"}, {"system_id": "f"}, {"system_id": "e7602"}]},
            "no system e760; 2 systems begin so, as e7601 and e7602: give more of the id",
        ),
        ("8d8", {"uptime": 7.0}, "no system 8d8; of an id 4 characters at least are needed"),
        ("8d8:14", {"uptime": 7.0}, "no system 8d8:14; of an id 4 characters at least are needed"),
    ],
)
def test_who_asks_for_a_system_that_is_not_there_hears_why_that_may_be(wanted, status, text):
    with pytest.raises(CommandFailure, match=f"^{text}$"):
        ask_about(Application(status), "explain", wanted)


class Silent:
    """A master that lets in, and answers nothing."""

    def __init__(self, url, config):
        del url, config

    def __enter__(self):
        """Connect."""
        return self

    def __exit__(self, *reason):
        """Leave."""

    def status(self):
        """Give up."""
        raise TimeoutError


def test_a_master_that_falls_silent_is_a_message_and_an_exit_code(monkeypatch):
    monkeypatch.setattr("concurro.nodes.application.ApplicationNode", Silent)

    run = CliRunner().invoke(concurrent_group, ["status", "--master", "tcp://127.0.0.1:1"])

    assert run.exit_code == 3
    assert "the master at tcp://127.0.0.1:1 did not answer in time" in run.output


def test_a_report_is_about_a_system():
    run = CliRunner().invoke(report_command, ["8d81:3"])

    assert run.exit_code == 2
    assert "report takes a system, not a task: concurrent report 8d81" in run.output


def test_the_help_of_report_says_what_is_written_where():
    text = " ".join(CliRunner().invoke(report_command, ["--help"]).output.split())

    assert "[default: report.html]" in text
    assert "replaces one that is there" in text
