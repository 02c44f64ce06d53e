"""Runtimes, near and far: commands, references, logs, profiles, the ways to each other."""

from __future__ import annotations

import json
import logging
import os

import pytest
from click.testing import CliRunner

from concurro import ServiceFailedError, WaitInCallbackError
from concurro.cli.commands import concurrent_group
from concurro_monitor import Monitor, Runtime, RuntimeDisconnectedError, RuntimeProxy, here
from tests.support.leftovers import watch_leftovers
from tests.support.tesserae import WATCHDOG, Counter, drive, runtime_of
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Give a runtime with two workers, on two slaves."""
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), runtime_of(workers=1, slaves=2) as (_, runtime):
        yield runtime


@pytest.fixture(autouse=True)
def leaves_nothing_behind(runtime):
    """Leave watching to the whole."""


@pytest.fixture
def worker(runtime):
    """Give the proxy of a worker."""
    return runtime.get_worker()


class Resident:
    """Something that lives in a runtime."""

    type = "thing"

    def __init__(self, uid):
        self.uid = uid
        self.gone = False

    def add(self, number, *, to=0):
        return number + to

    def deregister(self):
        self.gone = True


# Who is there


def test_a_runtime_knows_its_neighbours_by_their_kinds(runtime):
    assert [proxy.uid for proxy in runtime.get_workers()] == ["worker:0:0", "worker:1:0"]
    assert [proxy.uid for proxy in runtime.get_nodes()] == ["node:0", "node:1"]
    assert (runtime.num_workers, runtime.num_nodes) == (2, 2)
    assert runtime.get_head() == RuntimeProxy("head")
    assert runtime.get_monitor().is_monitor
    assert runtime.get_warehouse().uid == "warehouse"
    assert runtime.get_local_warehouse().uid == "warehouse"
    assert runtime.proxy("worker", (0, 1)) == runtime.proxy(uid="worker:0:1")
    with pytest.raises(KeyError, match="worker:1:0"):
        runtime.get_worker("worker:7:7")
    with pytest.raises(KeyError):
        runtime.get_node("node:7")


def test_who_does_not_listen_is_reached_where_the_master_is(runtime, worker):
    assert runtime.address == worker.address == runtime.application.master_url
    assert runtime.port == runtime.pubsub_port == worker.port == worker.pubsub_port == 0
    assert worker.comms is runtime.get_comms() is runtime.application
    assert runtime.set_comms() is runtime.application
    with pytest.raises(RuntimeError, match="make another one"):
        runtime.set_comms("127.0.0.1", 1)
    assert not runtime.get_zmq_context().closed


def test_an_address_of_a_machine_is_its_name_and_its_port():
    class Application:
        master_url = "tcp://127.0.0.1:8081"

    runtime = Runtime(Application())

    assert (runtime.address, runtime.port, runtime.pubsub_port) == ("127.0.0.1", 8081, 8081)


def test_ways_are_opened_and_closed(runtime, worker):
    proxy = runtime.connect("head", worker.uid, runtime.address, runtime.port)

    assert proxy == worker
    assert worker.uid in runtime.connected
    runtime.disconnect("head", worker.uid)
    assert worker.uid not in runtime.connected
    runtime.disconnect("head", worker.uid)
    assert worker.cpu_load().get(WATCHDOG) >= 0
    with pytest.raises(RuntimeDisconnectedError):
        runtime.connect("head", "worker:9:9")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.9"):
        runtime.connect("head", worker.uid, "127.0.0.9", 1)


def test_hands_are_shaken(runtime, worker):
    network = worker.hand("head", runtime.address, runtime.port).get(WATCHDOG)

    assert {"head", "monitor", "node:0", "worker:0:0", "worker:1:0"} <= network.keys()
    assert set(map(tuple, network.values())) == {(runtime.address, 0)}
    proxies = runtime.shake(worker.uid, {**network, "worker:9:9": [runtime.address, 0]})
    assert worker in proxies
    assert RuntimeProxy(uid="worker:9:9") not in proxies
    assert "worker:1:0" in runtime.connected


def test_a_worker_of_this_machine_has_a_process(runtime, worker):
    assert worker.subprocess.pid == runtime.place_of(worker.uid).pid
    assert runtime.get_head().subprocess is None


# Commands


def test_methods_of_a_proxy_run_where_the_runtime_is(runtime, worker):
    assert worker.figures().get(WATCHDOG)["memory"] > 1_000_000
    assert worker.memory_limit().get(WATCHDOG) == runtime.memory_limit()
    with pytest.raises(AttributeError, match="no method 'nonsense'"):
        worker.nonsense  # noqa: B018 - asking is enough
    with pytest.raises(AttributeError):
        worker.part  # noqa: B018 - as above
    with pytest.raises(AttributeError):
        runtime.get_head().select_worker  # noqa: B018 - as above
    with pytest.raises(RuntimeDisconnectedError):
        RuntimeProxy(uid="worker:9:9", runtime=runtime).cpu_load().get(WATCHDOG)


def test_a_node_and_the_warehouse_obey_too(runtime):
    node = runtime.get_node()

    assert node.cpu_load().get(WATCHDOG) >= 0
    assert node.memory().get(WATCHDOG) > 1_000_000
    assert RuntimeProxy("warehouse", 1, runtime=runtime).memory().get(WATCHDOG) > 0


def test_the_head_is_reached_from_workers(runtime):
    class Asked(Counter):
        def ask_head(self, number):
            return here().get_head().cmd({"uid": "asked", "method": "add", "args": [number]}).get(WATCHDOG)

    from concurro_tessera import tessera

    runtime.register(Resident("asked"))
    try:
        assert tessera(Asked).remote().ask_head(3).get(WATCHDOG) == 3
    finally:
        runtime.deregister(runtime.resident("asked"))


def test_commands_that_fail_tell_why(runtime, worker):
    with pytest.raises(KeyError, match="nothing with the uid 'nothing'"):
        worker.cmd({"uid": "nothing", "method": "add"}).get(WATCHDOG)
    with pytest.raises(ServiceFailedError, match="odd"):
        worker.raise_exception("head", ("OddError", "odd", "frames")).get(WATCHDOG)


# What lives in it


def test_residents_are_registered_once_and_commanded_by_uid(runtime):
    resident = runtime.register(Resident("one"))

    assert not runtime.needs_registering("thing", "one")
    assert runtime.needs_registering("task", "one")
    assert runtime.register(resident) is resident
    with pytest.raises(ValueError, match="already"):
        runtime.register(Resident("one"))
    assert runtime.cmd("head", {"uid": "one", "method": "add", "args": (2,), "kwargs": {"to": 3}}) == 5
    runtime.deregister(resident)
    runtime.deregister(resident)
    assert resident.gone
    assert runtime.needs_registering("thing", "one")


def test_the_last_reference_lets_a_resident_go(runtime):
    resident = runtime.register(Resident("two"))

    assert runtime.inc_ref("head", "two", "thing") == 1
    assert runtime.inc_ref("worker:0:0", "two", "thing") == 2
    with pytest.raises(KeyError, match="not a task"):
        runtime.inc_ref("head", "two", "task")
    assert runtime.dec_ref("head", "two", "thing") == 1
    assert not resident.gone
    assert runtime.dec_refs("worker:0:0", [{"uid": "two", "type": "thing"}]) == [0]
    assert resident.gone
    with pytest.raises(KeyError):
        runtime.dec_ref("head", "two", "thing")


def test_a_reference_holds_a_tessera_as_a_proxy_does(runtime, worker):
    proxy = Counter.remote(5, runtime=worker).wait(WATCHDOG)
    uid = proxy._seat.uid
    worker.inc_ref("head", uid, "tessera").wait(WATCHDOG)

    def lives():
        return not worker.needs_registering("tessera", uid).get(WATCHDOG)

    del proxy
    other = Counter.remote(runtime=worker).wait(WATCHDOG)
    other_uid = other._seat.uid
    del other
    wait_until(lambda: worker.needs_registering("tessera", other_uid).get(WATCHDOG), WATCHDOG, "the end of another")
    assert lives()
    assert worker.cmd({"uid": uid, "method": "get_attr", "args": ("value",)}).get(WATCHDOG) == 5

    worker.dec_ref("head", uid, "tessera").wait(WATCHDOG)

    wait_until(lambda: not lives(), WATCHDOG, "the end of the tessera")


def test_tesserae_and_tasks_are_made_in_a_worker_by_name(runtime, worker):
    proxy = worker.init_tessera("head", Counter, "mine", (10,)).get(WATCHDOG)

    assert proxy._seat.uid == "mine"
    assert proxy.runtime_id == worker.uid
    task = worker.init_task("head", {"tessera": "mine", "method": "add", "args": (5,)}, "my-task").get(WATCHDOG)
    assert task.uid == "my-task"
    assert task.get(WATCHDOG) == 15
    worker.dec_ref("head", "mine", "tessera").wait(WATCHDOG)
    with pytest.raises(RuntimeError, match="cannot be made"):
        runtime.init_tessera("head", Counter, "here")


def test_proxies_are_found_by_uid(runtime, worker):
    proxy = Counter.remote()

    assert runtime.proxy_from_uid(worker.uid) == worker
    assert runtime.proxy_from_uid(proxy._seat.uid) is proxy
    with pytest.raises(KeyError, match="no proxy"):
        runtime.proxy_from_uid("tess-unknown")
    thing = Resident("kept")
    assert runtime.proxy_from_uid("kept", thing) is thing
    assert not runtime.needs_registering("thing_proxy", "kept")
    runtime.remove_proxy_from_uid("kept", Resident("kept"))
    assert runtime.proxy_from_uid("kept") is thing
    runtime.remove_proxy_from_uid("kept")
    assert runtime.needs_registering("thing_proxy", "kept")


# Counts


def test_counts_go_up_and_down(runtime):
    before = runtime.figures()
    for count in ("pending_tasks", "running_tasks"):
        getattr(runtime, f"inc_{count}")()
        assert getattr(runtime, count) == 1
        getattr(runtime, f"dec_{count}")()
        assert getattr(runtime, count) == 0
    runtime.inc_committed_mem(1000)
    assert runtime.committed_mem == 1000
    runtime.dec_committed_mem(1000)

    assert runtime.committed_mem == before["committed"] == 0
    assert runtime.ps_process.pid == os.getpid()
    assert runtime.cpu_load() >= 0
    assert runtime.fits_in_memory(1)
    assert not runtime.fits_in_memory(runtime.memory_limit())


# Logs


@pytest.mark.parametrize("stream", ["debug", "perf", "info", "warning", "error"])
def test_what_others_say_is_logged(runtime, caplog, stream):
    with caplog.at_level(logging.DEBUG, "concurro.runtime"):
        getattr(runtime, f"log_{stream}")("worker:0:0", "so it is\n")

    (record,) = caplog.records
    assert record.getMessage() == "worker:0:0: so it is"
    level = 15 if stream == "perf" else getattr(logging, stream.upper())
    assert record.levelno == level


def test_what_a_worker_logs_comes_to_the_program(runtime, worker, caplog):
    from concurro_tessera import tessera

    @tessera
    class Speaker:
        def speak(self):
            here().logger.warning("it is %s", "hot")

    worker.set_logger().wait(WATCHDOG)
    with caplog.at_level(logging.DEBUG, "concurro.runtime"):
        Speaker.remote(runtime=worker).speak().wait(WATCHDOG)
        wait_until(lambda: caplog.messages, WATCHDOG, "the line")

    assert caplog.messages == [f"{worker.uid}: it is hot"]
    with pytest.raises(ValueError, match="no level 'loud'"):
        runtime.set_logger("loud")


@pytest.mark.parametrize(
    ("exc", "kind"),
    [
        (ValueError("no"), ValueError),
        (("ValueError", "no", ""), ValueError),
        ({"type_name": "OwnError", "text": "no"}, ServiceFailedError),
    ],
)
def test_exceptions_of_others_are_raised(runtime, exc, kind):
    with pytest.raises(kind, match="no") as caught:
        runtime.raise_exception("worker:0:0", exc)

    assert caught.value.__notes__ == ["raised in worker:0:0"]


# Upkeep and life


def test_maintenance_is_done_soon_or_at_once(runtime):
    done, batches = [], []

    async def soon():
        done.append("soon")

    runtime.maintenance_queue(soon)
    wait_until(lambda: done == ["soon"], WATCHDOG, "what was queued")

    async def main():
        runtime.maintenance_queue(lambda: done.append("now"))
        runtime.maintenance_queue(lambda: 1 / 0)
        for number in range(3):
            runtime.maintenance_msg(batches.append, number)
        return await runtime.maintenance()

    assert drive(main) <= 3
    wait_until(lambda: done == ["soon", "now"] and batches == [[0, 1, 2]], WATCHDOG, "the rest")


def test_the_warehouse_is_made_ready_everywhere(runtime):
    assert runtime.init_warehouse().get(WATCHDOG) == 2
    with pytest.raises(TypeError, match="warehouse"):
        runtime.init_warehouse(size=1)


def test_an_own_loop_may_be_used(runtime):
    mine = object()

    assert runtime.get_event_loop(mine) is mine
    assert runtime.get_event_loop().is_running()


def test_a_runtime_is_waited_for_until_it_stops(runtime):
    own = Runtime(runtime.application)

    async def main():
        assert await own.init() is own
        with pytest.raises(TypeError, match="speed"):
            await own.init(speed=1)
        over = own.wait()
        assert not over.done()
        with pytest.raises(WaitInCallbackError):
            own.wait(wait=True)
        await own.stop()
        await over

    drive(main)
    own.wait(wait=True)
    runtime.enrol()


def test_profiles_are_measured_sent_and_written(runtime, worker, tmp_path):
    path = tmp_path / "profile"
    with pytest.raises(RuntimeError, match="set_profiler"):
        Runtime(runtime.application).request_profile("head")
    monitor = runtime.part(Monitor.beside)

    runtime.get_monitor().set_profiler(str(path)).wait(WATCHDOG)
    proxy = Counter.remote(1, runtime=worker)
    proxy.add(2).wait(WATCHDOG)
    wait_until(
        lambda: any(call[2] == "add" for _, update in monitor.received for call in update["calls"]),
        WATCHDOG,
        "the profile of a call",
    )
    description = runtime.get_monitor().append_description().get(WATCHDOG)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    calls = [call for line in lines for call in line.get("profile", {}).get("calls", ())]
    assert {call[2] for call in calls} >= {"add"}
    assert all(call[4] >= 0 and call[5] for call in calls)
    assert lines[-1]["description"]["strategy"] == description["strategy"] == "round-robin"
    proxy.add(3).wait(WATCHDOG)
    assert worker.request_profile().get(WATCHDOG)["uid"] == worker.uid
    worker.send_profile().wait(WATCHDOG)
    runtime.recv_profile("worker:0:0", {"calls": []})
    assert runtime.received[-1] == ("worker:0:0", {"calls": []})
    monitor.end_profile()


# Commands


def test_tesserae_are_listed_for_people_and_programs(runtime):
    proxy = Counter.remote().wait(WATCHDOG)
    url = runtime.application.master_url

    def shown(*words):
        result = CliRunner().invoke(concurrent_group, ["tesserae", *words, "--master", url])
        assert result.exit_code == 0, result.output
        return result.output

    def listed():
        found = json.loads(shown("list", "--json"))["tesserae"]
        return [one for one in found if one["uid"] == proxy._seat.uid]

    assert listed()[0]["class_name"] == "Counter"
    assert proxy._seat.uid in shown("list")
    workers = shown("workers").splitlines()
    assert workers[0].split()[:3] == ["UID", "NODE", "RUNNING"]
    assert [line.split()[0] for line in workers[1:]] == [worker.uid for worker in runtime.workers]
    assert "METHOD" in shown("calls")
    refused = CliRunner().invoke(concurrent_group, ["tesserae", "list"])
    assert refused.exit_code == 2
    assert "no master is configured" in refused.output
