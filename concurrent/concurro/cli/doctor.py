"""`concurrent doctor`: look at everything that may be in the way.

here --> configuration --> keys --> master --> slaves
          each a list of findings: ok, warning or problem, and what to do
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.asking import asked_master, master_options
from concurro.cli.findings import (
    Finding,
    Verdict,
    compare_versions,
    judge_clock,
    judge_machine,
    judge_status,
    judge_versions,
)
from concurro.cli.outcomes import EXIT_FAILED
from concurro.cli.printing import examples, json_option, painted, print_json, visible
from concurro.cli.tables import ask_surroundings
from concurro.config import Config
from concurro.config.configuration import DEFAULT_ORIGIN
from concurro.config.sources import SYSTEM_FOLDER, user_folder, variables_in
from concurro.errors import ConcurroError, MasterUnreachable, RefusedError
from concurro.ids import Role
from concurro.kernel import Environment, OfferState
from concurro.nodes.surroundings import surroundings
from concurro.transport.keys_folder import MASTER_FILE, KeyFolder, key_in
from concurro.transport.versions import libzmq_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_COLOURS = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.PROBLEM: "red"}
LITTLE_SPACE = 100 * 1024 * 1024
LONGEST_FOLDER = 60
"""A folder whose path is longer leaves no room for the name of a socket."""


@dataclass(slots=True)
class Examination:
    """What was looked at.

    Attributes:
        findings: In the order in which they are shown.
        here: Where this command runs.
        master: Where the master runs; None without one.
        slaves: Where slaves run, those that told.
    """

    findings: list[Finding] = field(default_factory=list)
    here: dict[str, Any] = field(default_factory=dict)
    master: dict[str, Any] | None = None
    slaves: dict[str, Any] = field(default_factory=dict)

    def note(self, findings: Iterable[Finding]) -> None:
        """Add findings."""
        self.findings += findings


@click.command("doctor", epilog=examples("concurrent doctor", "concurrent doctor --master tcp://server:8081 --json"))
@master_options
@json_option
def doctor_command(*, as_json: bool, **where: str | None) -> None:
    """Look for what may be in the way, and say what to do about it.

    Here: versions, limits, memory, configuration, keys. Of a master that answers, and of its slaves: the same where it
    is known, versions that differ from those here, clocks, and who is sick. Without a master it looks here only.

    Ends with 1 when there is a problem; warnings are none.
    """
    examination = examine(**where)
    if as_json:
        findings = [{**finding._asdict(), "verdict": finding.verdict.value} for finding in examination.findings]
        places = {"here": examination.here, "master": examination.master, "slaves": examination.slaves}
        print_json({"findings": findings, **places})
    else:
        for line in _lines(examination.findings):
            click.echo(line)
    if any(finding.verdict is Verdict.PROBLEM for finding in examination.findings):
        raise click.exceptions.Exit(EXIT_FAILED)


def examine(master: str | None = None, keys: str | None = None, config: str | None = None) -> Examination:
    """Look at this machine, its configuration, and the master that is meant."""
    found = Examination(here=surroundings())
    found.here["versions"]["libzmq"] = libzmq_version(load=True)
    found.note(judge_versions("here", found.here["versions"]))
    found.note(judge_machine("here", found.here))
    found.note(_judge_folder())
    settings = None
    try:
        settings = Config.load(config, overrides={"application.master": master, "security.keys": keys})
    except ConcurroError as error:
        found.note(
            [_problem("here", "configuration", error, "mend that line; concurrent config show lists what there is")]
        )
    if settings is not None:
        found.note(_judge_configuration(settings))
        found.note(_judge_keys(settings))
        _ask(found, settings, master=master, keys=keys, config=config)
    return found


def _ask(found: Examination, settings: Config, **where: str | None) -> None:
    """Look at the master and its slaves."""
    try:
        with asked_master(**where) as application:
            status = application.status()
            before = surroundings()["time"]
            found_there = ask_surroundings(application)
            after = surroundings()["time"]
    except (ConcurroError, TimeoutError) as error:
        found.note([_no_master(error, settings)])
        return
    there = found_there["master"]
    text = f"answers at {status['url']}, process {status['pid']}"
    found.note([Finding("master", "address", Verdict.OK, text)])
    if there:
        found.master = there
        found.note(_judge_place("master", there, found.here))
        # It read its clock between our two readings: only what lies outside of them is a difference.
        ahead = max(0.0, there["time"] - after) + min(0.0, there["time"] - before)
        found.note([judge_clock("master", ahead, 0.0, "the clock here")])
    found.note(judge_status(status))
    for slave in status["slaves"]:
        facts = found_there["slaves"].get(slave["id"])
        name = f"slave {slave['id']}"
        if facts is None:
            remedy = "look at its log; it is asked again with the next call"
            found.note([Finding(name, "state", Verdict.WARNING, "does not say where it runs", remedy)])
            continue
        found.slaves[slave["id"]] = facts
        if facts["pid"] != there.get("pid"):
            found.note(_judge_place(name, facts, found.here))
            found.note([judge_clock(name, facts["ahead"], facts["unsure"], "the master's clock")])


def _judge_place(where: str, facts: dict[str, Any], here: dict[str, Any]) -> Iterator[Finding]:
    versions = facts.get("versions", {})
    yield from compare_versions(where, versions, here["versions"])
    yield from judge_versions(where, versions)
    yield from judge_machine(where, facts)


def _no_master(error: Exception, settings: Config) -> Finding:
    """Say that no master answers: a problem only where somebody named one."""
    named = (
        bool(settings["application.master"])
        or settings["security.keys"] is not None
        or settings.origin("slave.master") != DEFAULT_ORIGIN
    )
    if isinstance(error, MasterUnreachable | TimeoutError):
        remedy = "start one: concurrent-master; or name another: --master URL. Jobs run without one, on this machine"
        verdict = Verdict.PROBLEM if named else Verdict.OK
        text = str(error) if named else f"none runs at the default address ({error})"
        return Finding("master", "address", verdict, text, remedy if named else "")
    remedy = "mend the setting; concurrent config show --origin says where it stands"
    if isinstance(error, RefusedError):
        remedy = "concurrent keys list, on the master's machine, shows who may come in"
    return _problem("master", "address", error, remedy)


def _judge_configuration(settings: Config) -> Iterator[Finding]:
    if settings.file is None:
        looked = ", ".join(map(str, (Path.cwd(), user_folder(os.environ), SYSTEM_FOLDER)))
        text = f"no file concurrent.toml in force (looked in {looked}): defaults"
    else:
        text = f"file in force: {settings.file}"
    yield Finding("here", "configuration", Verdict.OK, text)
    variables = sorted(variables_in(os.environ))
    if variables:
        yield Finding("here", "configuration", Verdict.OK, f"set by environment variables: {', '.join(variables)}")
    try:
        environment = Environment(settings)
        broken = [offer for offer in environment.offers() if offer.state is OfferState.BROKEN]
        warnings = environment.warnings
    except ConcurroError as error:
        yield _problem("here", "components", error, "concurrent plugins list shows all")
        return
    for offer in broken:
        text = f"{offer.name} ({offer.source}) is broken: {offer.reason}"
        yield Finding("here", "components", Verdict.WARNING, text, f"concurrent plugins check {offer.name}")
    for warning in warnings:
        yield Finding("here", "components", Verdict.WARNING, warning, "mend or remove that line of [components]")


def _judge_keys(settings: Config) -> Iterator[Finding]:
    path = settings["security.keys"]
    if path is None:
        yield Finding("here", "keys", Verdict.OK, "none: only masters of this user on this machine can be reached")
        return
    path = Path(path)
    try:
        if (path / MASTER_FILE).exists():
            folder = KeyFolder(path)
            folder.pair()
            peers, faults = folder.peers()
            text = f"{path} holds the keys of a master, which lets {len(peers)} in"
            yield Finding("here", "keys", Verdict.OK, text)
            for fault in faults:
                yield _problem("here", "keys", fault, f"mend or remove it: concurrent keys list {path}")
        else:
            key = key_in(path, Role.APPLICATION)
            text = f"{path} is the key {key.name} of the role {key.role}"
            yield Finding("here", "keys", Verdict.OK, text)
    except (ConcurroError, OSError) as error:
        yield _problem(
            "here", "keys", error, "make a key on the master's machine: concurrent keys add application NAME"
        )


def _judge_folder() -> Iterator[Finding]:
    """Judge the folder in which clusters of this machine keep their sockets."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = Path(runtime if runtime and os.access(runtime, os.W_OK | os.X_OK) else tempfile.gettempdir())
    try:
        room = os.statvfs(folder)
    except OSError as error:
        yield _problem("here", "folder", error, "set TMPDIR to a folder that can be written")
        return
    free = room.f_frsize * room.f_bavail
    if not os.access(folder, os.W_OK | os.X_OK):
        text, remedy = f"{folder} cannot be written", "set TMPDIR to a folder that can"
        yield Finding("here", "folder", Verdict.PROBLEM, text, remedy)
    elif len(str(folder)) > LONGEST_FOLDER:
        text, remedy = f"{folder} is long for the path of a socket: /tmp is used", "set TMPDIR to a shorter one"
        yield Finding("here", "folder", Verdict.WARNING, text, remedy)
    elif free < LITTLE_SPACE:
        text, remedy = f"{folder} has {free // 2**20} MiB left", "remove what is not needed there"
        yield Finding("here", "folder", Verdict.WARNING, text, remedy)
    else:
        yield Finding("here", "folder", Verdict.OK, f"sockets are made below {folder}")


def _problem(where: str, topic: str, error: Exception, remedy: str) -> Finding:
    return Finding(where, topic, Verdict.PROBLEM, str(error), remedy)


def _lines(findings: list[Finding]) -> Iterator[str]:
    """Yield the report: by place, each finding with what to do."""
    for place in dict.fromkeys(finding.where for finding in findings):
        yield place
        for finding in (each for each in findings if each.where == place):
            verdict = painted(f"{finding.verdict.value:<8}", _COLOURS[finding.verdict])
            yield f"  {verdict} {finding.topic}: {visible(finding.text)}"
            if finding.remedy:
                yield f"           -> {visible(finding.remedy)}"
        yield ""
    counts = {verdict: sum(finding.verdict is verdict for finding in findings) for verdict in Verdict}
    yield f"problems: {counts[Verdict.PROBLEM]}, warnings: {counts[Verdict.WARNING]}"
