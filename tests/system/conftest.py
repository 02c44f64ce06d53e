"""Every test with real processes proves that it left none, nor anything else, behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from concurro import LocalCluster
from tests.support.far_cluster import far_cluster
from tests.support.jobs import SHIPPED, Square
from tests.support.leftovers import watch_leftovers
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.far_cluster import FarCluster

SHARED_WORKERS = 2


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Give a cluster of two workers to the tests of a module that leave it as it was."""
    tmp_path_factory.getbasetemp()  # made now, or the folders of the tests would be found below the watched one
    with watch_leftovers(), LocalCluster(workers=SHARED_WORKERS, config=SHIPPED) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Watch the test from outside."""
    if "shared_cluster" in request.fixturenames:
        cluster = request.getfixturevalue("shared_cluster")
        yield
        assert_as_before(cluster)
    else:
        request.getfixturevalue("runtime_folder")
        yield


def assert_as_before(cluster: LocalCluster) -> None:
    """Prove that a shared cluster has all its workers, nothing else, and works."""
    expected = 3 + SHARED_WORKERS  # the master, its launcher, the one of the workers, and these

    def tree() -> list[psutil.Process]:
        master = psutil.Process(cluster.master_pid)
        return [master, *master.children(recursive=True)]

    wait_until(lambda: len(tree()) == expected, 30, f"{expected} processes of the shared cluster")
    wait_until(lambda: not any(slave["running"] for slave in cluster.status()["slaves"]), 30, "idle slaves")
    assert [future.result(30) for future in cluster.push_tasks(map(Square, range(4)))] == [0, 1, 4, 9]


@pytest.fixture
def far(tmp_path: Path, runtime_folder: Path) -> Iterator[FarCluster]:
    """Give a master, a slave of two workers and an application, with a bad network in between."""
    with far_cluster(tmp_path, runtime_folder, workers=2) as cluster:
        yield cluster
