"""What a master cannot start: itself, or the host of one more system (lines 63 and 69 of the failure matrix)."""

from __future__ import annotations

import itertools
import resource
import socket
import threading
from pathlib import Path

import psutil
import pytest

from concurro import ApplicationNode, ConfigError, LocalCluster, MasterNode
from concurro.errors import AddressError, HostLost
from tests.support.jobs import SHIPPED, Mixture, Square
from tests.support.nodes import master_process, slave_process


def test_f63_a_master_that_found_its_port_taken_leaves_its_journal_to_the_next(tmp_path):
    before = threading.active_count()
    journal = str(tmp_path / "journal")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressError, match="already"):
            MasterNode({"master": {"listen": url, "journal": journal}}).start()

    left = threading.active_count()
    with MasterNode({"master": {"listen": f"ipc://{tmp_path}/master", "journal": journal}}):
        listens = Path(tmp_path, "master").exists()

    assert listens
    assert left == before


def test_a_standalone_master_that_cannot_offer_its_devices_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    before = psutil.Process().children()
    settings = {"listen": f"ipc://{tmp_path}/master", "standalone": True}

    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES"):
        MasterNode({"master": settings, "slave": {"workers": 1, "resources": {"gpu": 2.0}}}).start()

    assert psutil.Process().children() == before
    assert not Path(tmp_path, "master").exists()


def test_f69_a_master_without_descriptors_for_a_host_loses_that_system_only():
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        used = len(list(Path(f"/proc/{cluster.master_pid}/fd").iterdir()))
        limits = resource.prlimit(cluster.master_pid, resource.RLIMIT_NOFILE)
        resource.prlimit(cluster.master_pid, resource.RLIMIT_NOFILE, (used + 1, limits[1]))

        with pytest.raises(HostLost, match="descriptors"):
            cluster.run(Mixture(Square(2)), timeout=30)
        resource.prlimit(cluster.master_pid, resource.RLIMIT_NOFILE, limits)

        assert cluster.run(Mixture(Square(3)), timeout=30).finished == ["square-3"]


@pytest.mark.slow
@pytest.mark.parametrize("listen", ["ipc", "tcp"])
def test_f69_a_master_without_descriptors_keeps_its_peers_and_lets_others_in_later(runtime_folder, listen):
    url = f"ipc://{runtime_folder}/master" if listen == "ipc" else "tcp://127.0.0.1:0"
    config = {"application": {**SHIPPED["application"], "connect_timeout": 60.0}}
    with (
        master_process(runtime_folder, master={"listen": url}) as (master, url),
        slave_process(url),
        ApplicationNode(url, config=config) as node,
    ):
        assert node.push_task(Square(2)).result(30) == 4
        used = {int(fd.name) for fd in Path(f"/proc/{master.pid}/fd").iterdir()}
        free = next(fd for fd in itertools.count() if fd not in used)
        limits = resource.prlimit(master.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(master.pid, resource.RLIMIT_NOFILE, (free, limits[1]))
        late = ApplicationNode(url, config=config)
        coming = threading.Thread(target=late.connect)
        coming.start()

        squares = [node.push_task(Square(n)).result(30) for n in range(3, 50)]
        kept_out = coming.is_alive()
        resource.prlimit(master.pid, resource.RLIMIT_NOFILE, limits)
        coming.join(60)
        square = late.push_task(Square(100)).result(30)
        late.close()

    assert squares == [n * n for n in range(3, 50)]
    assert kept_out
    assert square == 10_000
