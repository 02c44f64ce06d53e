"""What starts at once: the launcher of a node is a copy of it, hosts are copies of the launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from concurro import ConfigError, LocalCluster, Task, TaskSystem
from tests.support.jobs import SHIPPED
from tests.support.waiting import wait_until

STARTS = "from concurro import LocalCluster; LocalCluster({workers}, {slaves}); print('started', flush=True)"


class Surroundings(Task):
    """Returns what the process has of us: the name of its main module, the hash seed for its children."""

    def __call__(self):
        seed = os.environ.get("PYTHONHASHSEED")
        return sys.argv, hasattr(sys.modules["__main__"], "main"), seed, os.getsid(0)


class SeenByHost(TaskSystem):
    """Gathers the surroundings of a worker and of the host, and what a string hashes to here."""

    def __init__(self):
        super().__init__()
        self.worker = None

    def generate_tasks(self, master):
        yield Surroundings("surroundings")

    def task_finished(self, master, task, result, error):
        self.worker = result

    def is_complete(self, master):
        return self.worker is not None

    def gather_result(self, master):
        return (self.worker, Surroundings("own")(), hash("a string"), sys.flags.hash_randomization), None


def hash_with_seed(seed):
    """Return what the string hashes to in an interpreter with this seed."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", "print(hash('a string'))"]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("chosen", [None, pytest.param("42", marks=pytest.mark.slow)])
def test_a_host_hashes_with_the_seed_0_whatever_the_user_chose_for_others(monkeypatch, chosen):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    if chosen is not None:
        monkeypatch.setenv("PYTHONHASHSEED", chosen)

    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        worker, host, hashed, randomized = cluster.run(SeenByHost(), timeout=30)

    assert worker[:3] == ([""], False, chosen)
    assert host[2] == "0"
    assert not randomized
    assert hashed == hash_with_seed("0")


def test_a_forked_host_has_neither_main_module_nor_arguments_of_the_launcher(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)

    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        _, host, _, _ = cluster.run(SeenByHost(), timeout=30)

    assert host[:2] == ([""], False)
    assert host[3] != os.getsid(0)


def test_a_host_holds_no_descriptor_of_another_one():
    with LocalCluster(workers=1, config=SHIPPED) as cluster:
        handles = [cluster.submit(Endless()) for _ in range(2)]
        first, second = (wait_until(lambda h=handle: host_pid(cluster, h), 30, "its host") for handle in handles)

        # A host that was just forked has not closed what its launcher held yet.
        wait_until(lambda: not descriptors(first) & descriptors(second), 30, "hosts that share no descriptor")

        for handle in handles:
            handle.cancel()


class Endless(TaskSystem):
    """Waits to be cancelled."""

    def generate_tasks(self, master):
        return iter(())

    def task_finished(self, master, task, result, error):
        pass

    def is_complete(self, master):
        return False


def host_pid(cluster, handle):
    """Return the process of a system; None while it starts."""
    return next(s["host_pid"] for s in cluster.status()["systems"] if s["system_id"] == handle.system_id)


def descriptors(pid):
    """Return what sockets and pipes a process holds."""
    names = {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    return {name for name in names if name.startswith(("socket:", "pipe:"))}


def test_a_cluster_whose_settings_are_wrong_says_so_and_leaves_no_process():
    before = psutil.Process().children()

    with pytest.raises(ConfigError, match="wrongs"):
        LocalCluster(workers=1, config={"master": {"wrongs": 1}})

    assert psutil.Process().children() == before


@pytest.mark.parametrize(
    ("slaves", "after"),
    [(1, 0.0), *(pytest.param(s, a, marks=pytest.mark.slow) for s in (1, 2) for a in (0.02, 0.1, 0.2, 0.3))],
)
def test_an_application_that_is_killed_while_its_cluster_starts_leaves_nothing(runtime_folder, slaves, after):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", STARTS.format(workers=2, slaves=slaves)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as owner:
        wait_until(psutil.Process(owner.pid).children, 30, "the first process of the cluster")

        time.sleep(after)  # somewhere in its start
        owner.send_signal(signal.SIGKILL)

    wait_until(lambda: not list(runtime_folder.glob("concurro-*")), 30, "its folder to go")


def test_a_cluster_starts_where_all_standard_streams_are_closed(runtime_folder):
    script = "from concurro import ClusterExecutor\nwith ClusterExecutor(1) as own: own.submit(pow, 2, 5).result(30)"
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime_folder)}
    daemon = ["/bin/sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', sys.executable, script]

    ended = subprocess.run(daemon, env=environment, check=False, timeout=60)

    assert ended.returncode == 0
