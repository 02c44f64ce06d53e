"""A slave whose disk is full: line 45 of the failure matrix."""

from __future__ import annotations

import errno
import os
import resource
import signal
from contextlib import contextmanager, suppress

import pytest

from concurro import ApplicationNode
from tests.support.jobs import SHIPPED, Mixture, Square, Traced
from tests.support.nodes import master_process, slave_process
from tests.support.small_disk import fill, needs_mount, python_with_disk, seen_by
from tests.support.waiting import wait_until


@contextmanager
def slave_on_a_full_disk(url, folder):
    """Run a slave whose temporary folder, working directory and log are on a full disk of its own."""
    disk = folder / "disk"
    disk.mkdir()
    environment = {**os.environ, "TMPDIR": str(disk)}
    python = python_with_disk(disk, "1m")
    with slave_process(url, python=python, prelude=LOG_TO.format(path=f"{disk}/log"), env=environment) as process:
        mine = seen_by(process.pid, disk)
        wait_until((mine / "log").exists, 30, "the disk")
        fill(mine)
        yield process


LOG_TO = """
import sys
sys.stderr = open({path!r}, "w", 1)
"""


@contextmanager
def slave_whose_files_stay_small(url, folder):
    """Run a slave that can write no more than 64 KiB into any file, memory files included."""
    prelude = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))"
    with slave_process(url, prelude=prelude, env={**os.environ, "TMPDIR": str(folder)}) as process:
        yield process


class Writes(Traced):
    """Writes a file into the slave's temporary folder; says how much."""

    def __call__(self):
        with open(os.environ["TMPDIR"] + "/mine", "wb") as file:  # noqa: PTH123 - as text
            return file.write(bytes(100_000))


class Returns(Traced):
    """Returns much, and prints much."""

    def __call__(self):
        for _ in range(1000):
            print("x" * 79)
        return bytes(20_000_000)


class Crashes(Traced):
    """Ends its worker in native code."""

    max_retries = 0

    def __call__(self):
        signal.raise_signal(signal.SIGSEGV)


class Clears(Traced):
    """Gives the disk room again."""

    def __call__(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with suppress(FileNotFoundError):
            os.unlink(os.environ["TMPDIR"] + "/ballast")  # noqa: PTH108 - as text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("slave", "number"),
    [
        pytest.param(slave_on_a_full_disk, errno.ENOSPC, marks=needs_mount),
        (slave_whose_files_stay_small, errno.EFBIG),
    ],
    ids=["full disk", "small files"],
)
def test_f45_a_slave_whose_disk_is_full_fails_tasks_that_write_and_runs_all_others(
    tmp_path, runtime_folder, slave, number
):
    with (
        master_process(runtime_folder) as (_, url),
        slave(url, tmp_path) as process,
        ApplicationNode(url, config=SHIPPED) as node,
    ):
        [before] = wait_until(lambda: node.status()["slaves"], 30, "the slave")
        tasks = [Writes("writes", tmp_path), Returns("returns", tmp_path), Crashes("crashes", tmp_path)]
        report = node.run(Mixture(*tasks, *map(Square, range(50))), timeout=60)
        [after] = wait_until(lambda: node.status()["slaves"], 30, "the slave")
        node.push_task(Clears("clears", tmp_path)).result(30)
        written = node.push_task(Writes("writes again", tmp_path)).result(30)
        ended = process.poll()

    errors = {error.task_id.rpartition(":")[2]: error for error in report.errors}
    assert len(errors) == 2
    assert errors["0"].type_name == "OSError"
    assert errors["0"].cause.errno == number
    assert os.strerror(number) in str(errors["0"])
    assert errors["0"].slave_id == before["id"]
    assert "SIGSEGV" in errors["2"].message
    assert len(report.results["returns"]) == 20_000_000
    assert {n: report.results[f"square-{n}"] for n in range(50)} == {n: n * n for n in range(50)}
    assert (after["id"], after["sick"], ended) == (before["id"], "", None)
    assert written == 100_000
