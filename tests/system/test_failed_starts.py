"""What a master cannot start: itself, or the host of one more system (lines 63 and 69 of the failure matrix)."""

from __future__ import annotations

import resource
import socket
import threading
from pathlib import Path

import psutil
import pytest

from concurro import ConfigError, LocalCluster, MasterNode
from concurro.errors import AddressError, HostLost
from tests.support.jobs import SHIPPED, Mixture, Square


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
