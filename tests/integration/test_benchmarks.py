"""The benchmarks run, check what they measure, and write down every figure."""

from __future__ import annotations

import ast
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks import __main__ as command
from benchmarks import runner
from benchmarks.decisions import Bench, Case
from benchmarks.pools.kinds import POOLS
from benchmarks.report import Measured, ratio
from benchmarks.without.sitecustomize import PARTS
from benchmarks.workload import OURS, Workload
from benchmarks.workloads import WORKLOADS, select
from tests.support.programs import ROOT, run_program
from tests.support.waiting import has_ended, wait_until

pytestmark = pytest.mark.usefixtures("runtime_folder")


def names_defined_in(module: str) -> set[str]:
    """Return names without importing: peers need not be installed."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {statement.name for statement in tree.body if isinstance(statement, ast.FunctionDef | ast.ClassDef)}


def test_lists_every_workload_with_its_contenders():
    listed = run_program(sys.executable, "-m", "benchmarks", "--list").stdout

    assert all(workload.name in listed and ", ".join(workload.contenders) in listed for workload in WORKLOADS)


def test_a_family_name_stands_for_all_its_members():
    assert [workload.name for workload in select(["W1"])] == ["W1-submit", "W1-bulk", "W1-system"]


def test_the_case_of_a_name_does_not_matter():
    assert [workload.name for workload in select(["w2", "w1-SYSTEM"])] == ["W2", "W1-system"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--workers", "0"], "--workers: '0' is no whole number of 1 or more"),
        (["--repeat", "0"], "--repeat: '0' is no whole number of 1 or more"),
        (["--count", "-1"], "--count: '-1' is no whole number of 0 or more"),
        (["--count", "many"], "--count: 'many' is no whole number of 0 or more"),
        (["--timeout", "nan"], "--timeout: 'nan' is no duration above 0 s"),
        (["--json", "/nowhere/figures.json"], "--json: there is no folder /nowhere"),
        (["--json", "/"], "--json: / is a folder"),
        (["--write", "/nowhere"], "--write: there is no folder /nowhere"),
        (["--tasks", "5"], "unrecognized arguments: --tasks 5"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line_before_anything_is(capsys, monkeypatch, asked, said):
    monkeypatch.setattr(command, "measure", pytest.fail)

    with pytest.raises(SystemExit) as ended:
        command.main(["W2", *asked])

    errors = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert len(errors) == 1
    assert said in errors[0]


def test_an_unknown_workload_is_a_usage_error_that_names_the_known_ones():
    run = run_program(sys.executable, "-m", "benchmarks", "W77", expect=2)

    assert "W77" in run.stderr
    assert "W1-submit" in run.stderr


def test_every_contender_is_a_function_that_is_there_and_every_pool_a_class_that_is_there():
    places = {place for workload in WORKLOADS for place in workload.contenders.values()}
    functions = {tuple(place.partition(" ")[0].split(":")) for place in places}
    classes = {tuple(place.split(":")) for place in POOLS.values()}

    missing = {(module, name) for module, name in functions | classes if name not in names_defined_in(module)}
    unknown_pools = {pool for place in places if (pool := place.partition(" ")[2]) and pool not in POOLS}

    assert missing == set()
    assert unknown_pools == set()


def test_every_workload_measures_ours_and_has_a_name_of_its_own():
    assert all(OURS in workload.contenders for workload in WORKLOADS)
    assert len({workload.name for workload in WORKLOADS}) == len(WORKLOADS)


def test_an_unknown_peer_is_a_usage_error_that_names_the_known_ones():
    run = run_program(sys.executable, "-m", "benchmarks", "W2", "--peers", "rey", expect=2)

    assert "rey" in run.stderr
    assert "ray" in run.stderr


def test_a_peer_that_is_not_installed_is_said_once_and_left_out(monkeypatch, capsys):
    monkeypatch.setattr(command, "is_installed", lambda name: name != "ray")

    chosen = command.choose_peers("ppe,ray")

    assert chosen == {"ppe"}
    assert [line for line in capsys.readouterr().out.splitlines() if "ray" in line] == [
        "ray is not installed and left out: pip install '.[bench]' brings it"
    ]


def test_a_ratio_above_one_is_better_whichever_way_the_metric_goes():
    assert ratio(20.0, 10.0, more_is_better=True) == 2.0
    assert ratio(20.0, 10.0, more_is_better=False) == 0.5


def test_a_table_shows_medians_ratios_and_who_failed():
    workload = Workload("W0", "nothing", {}, "rate", "1/s", more_is_better=True)
    runs = {OURS: [{"rate": 1.0}, {"rate": 30.0}, {"rate": 20.0}], "ppe": [{"rate": 10.0}], "ray": []}

    table = Measured(workload, runs, {"ray": "exit code 1: no memory"}).table()

    ours, ppe, ray = table.splitlines()[-3:]
    assert ours.split()[:3] == [OURS, "20", "1/s"]
    assert ppe.endswith("concurro / ppe: 2.00")
    assert ray.split(maxsplit=1) == ["ray", "failed: exit code 1: no memory"]


def test_a_table_says_which_contenders_are_raw_limits():
    workload = Workload("W0", "nothing", {}, "rate", "1/s", more_is_better=True)
    names = (OURS, "concurro-tcp", "ppe", "without-output", "fork", "unix-4-hops")

    table = Measured(workload, {name: [{"rate": 1.0}] for name in names}, {}).table()

    limits = {line.split()[0] for line in table.splitlines()[2:] if "raw limit" in line}
    assert limits == {"fork", "unix-4-hops"}


def test_a_contender_that_fails_is_reported_with_its_last_words():
    with pytest.raises(runner.MeasurementFailed, match="exit code 1: KeyError: 'nobody'"):
        runner.measure("W2", "nobody", workers=1, count=1, timeout=60.0)


@pytest.mark.slow
def test_a_contender_that_hangs_is_ended_with_all_its_descendants_and_its_folders(monkeypatch, tmp_path):
    module = tmp_path / "hanging.py"
    module.write_text(
        "import subprocess, sys, tempfile, time\n"
        f"file = open({str(tmp_path / 'said')!r}, 'w')\n"
        "daemon = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(daemon.pid, tempfile.gettempdir(), file=file, flush=True)\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr(runner, "MEASURE", [sys.executable, str(module)])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    with runner.orphans_adopted(), pytest.raises(runner.MeasurementFailed, match="ended after 2 s"):
        runner.measure("W2", "ppe", workers=1, count=1, timeout=2.0)
    others_end = other.poll()
    other.kill()
    other.wait()

    daemon, folder = (tmp_path / "said").read_text(encoding="utf-8").split()
    assert others_end is None
    assert not psutil.pid_exists(int(daemon))
    assert not Path(folder).exists()


HANGS = """
import os, subprocess, sys, tempfile, time
daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
with open({said!r}, "w") as file:
    print(daemon.pid, tempfile.gettempdir(), os.environ["JOBLIB_TEMP_FOLDER"], end="", file=file)
time.sleep(600)
"""

MEASURES = """
import sys
from benchmarks import runner
runner.MEASURE = [sys.executable, {module!r}]
with runner.orphans_adopted(), runner.ends_cleanly() as tell:
    runner.measure("W2", "ppe", workers=1, count=1, timeout=600.0, tell=tell)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_process_and_no_folder(tmp_path, number):
    module, said = tmp_path / "hanging.py", tmp_path / "said"
    module.write_text(HANGS.format(said=str(said)))
    run = subprocess.Popen([sys.executable, "-c", MEASURES.format(module=str(module))], cwd=ROOT)
    wait_until(lambda: said.exists() and "/" in said.read_text(), 30, "the measurement")
    daemon, *folders = said.read_text().split()
    measuring = psutil.Process(int(daemon)).ppid()

    run.send_signal(number)
    status = run.wait(30)

    assert status in (128 + number, -number)
    wait_until(lambda: has_ended(int(daemon)) and has_ended(measuring), 30, "the end of all processes")
    wait_until(lambda: not any(Path(folder).exists() for folder in folders), 30, "the end of the folders")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_taken_out_is_still_where_it_is_looked_for(part):
    program = (
        "import importlib, benchmarks.without.sitecustomize as taken\n"
        f"taken.take_out({part!r})\n"
        f"for module in taken.PARTS[{part!r}]:\n"
        "    importlib.import_module(module)\n"
        "from concurro.wire import schema\n"
        "from concurro.execution.native_writes import NativeWrites\n"
        "from concurro.execution.process_state import ProcessState\n"
        "from concurro.execution.standard_streams import StandardStreams\n"
        "print(schema.check_message.__module__, NativeWrites.happened.__module__,\n"
        "      ProcessState.compare.__module__, StandardStreams.put_back.__module__)\n"
    )

    modules = run_program(sys.executable, "-c", program).stdout.split()

    assert ("benchmarks.without.sitecustomize" in modules) is True
    assert len(set(modules)) > 1


@pytest.mark.slow
def test_writes_figures_of_ours_and_of_a_peer(tmp_path: Path):
    figures = tmp_path / "figures.json"

    run = run_program(
        *(sys.executable, "-m", "benchmarks", "W1-submit", "W1-system", "--peers", "ppe"),
        *("--repeat", 1, "--count", 200, "--json", figures),
    )

    report = json.loads(figures.read_text(encoding="utf-8"))
    for name in ("W1-submit", "W1-system"):
        runs = report["workloads"][name]["runs"]
        limits = {contender for contender in runs if "hops" in contender}
        assert runs.keys() - limits == {"concurro", "concurro-tcp", "ppe"}
        assert limits
        assert all(results[0]["rate"] > 0 for results in runs.values())
    assert "concurro / ppe" in run.stdout


@pytest.mark.slow
def test_a_memory_workload_reports_the_memory_of_every_process():
    run = run_program(sys.executable, "-m", "benchmarks", "memory-lazy", "--repeat", 1, "--count", 20_000)

    assert "application" in run.stderr
    assert "MiB at the end" in run.stderr


@pytest.mark.parametrize(
    "case",
    [
        Case(slaves=3, tasks=2_000),
        Case(slaves=3, tasks=200, duration=1.0),
        Case(slaves=3, tasks=500, systems=7),
        Case(slaves=3, tasks=500, classes=[{"requires": {"memory": 1.0 + kind}} for kind in range(9)]),
    ],
    ids=["short", "long", "systems", "requires"],
)
def test_the_core_alone_decides_about_every_task_once(case):
    case.resources = {"memory": 64.0}
    bench = Bench(case)

    bench.run()

    assert sum(system.done for system in bench.systems) == case.tasks
    assert not any(bench.held.values())
    assert bench.core.stale_results == 0


def test_strategies_that_do_not_exist_are_a_usage_error_that_names_the_known_ones():
    run = run_program(sys.executable, "-m", "benchmarks", "strategies", "fastest", expect=2)

    assert "fastest" in run.stderr
    assert "least-loaded" in run.stderr


@pytest.mark.slow
def test_compares_strategies_beside_what_is_possible(tmp_path: Path):
    figures = tmp_path / "figures.json"

    run = run_program(sys.executable, "-m", "benchmarks", "strategies", "round-robin", "--seeds", 1, "--json", figures)

    report = json.loads(figures.read_text(encoding="utf-8"))["figures"]
    assert all(0 < measured["round-robin"]["efficiency"] <= 1 for measured in report.values())
    assert report["data-bound"]["round-robin"]["moved"] >= report["data-bound"]["bound"]["moved"] > 0
    assert "round-robin" in run.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("W2", 60), ("W4", 4), ("W8", 60), ("W11", 60), ("memory-results", 60), ("defaults-submit", 60)]
)
def test_a_workload_delivers_figures_of_ours_and_of_its_limits(name, count):
    run = run_program(sys.executable, "-m", "benchmarks", name, "--peers", "none", "--repeat", 1, "--count", count)

    assert "failed" not in run.stdout
    assert OURS in run.stdout


def test_a_chart_has_a_panel_per_workload_and_says_what_it_was_drawn_from(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    bars = pytest.importorskip("benchmarks.bars", exc_type=ImportError)
    runs = {OURS: [{"rate": 30.0}], "ppe": [{"rate": 10.0}], "ray": []}
    report = {"workloads": {"W0": {"metric": "rate", "unit": "1/s", "more_is_better": True, "runs": runs}}}

    bars.draw(report, tmp_path / "figures.svg")

    chart = (tmp_path / "figures.svg").read_text(encoding="utf-8")
    assert "W0 [1/s], more is better" in chart
    assert ">ppe<" in chart
    assert ">ray<" not in chart
    assert bars.origin(report) in chart
