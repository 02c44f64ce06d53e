"""The monitor's ledger: states, events, and what strategies are told of them."""

from __future__ import annotations

import pytest

from concurro_monitor.ledger import ENDED_KEPT, Ledger
from concurro_monitor.network import WorkerPlace
from concurro_monitor.records import EVENTS_KEPT, MonitoredTessera

PLACE = WorkerPlace("worker:0:0", "slave-1/1", "node:0", 4711)


@pytest.fixture
def told():
    """Give what the strategy is told, as `(method, uid, state)`."""
    return []


@pytest.fixture
def ledger(told):
    """Give a ledger with one node of one worker."""
    ledger = Ledger(lambda method, record: told.append((method, record.uid, record.state)))
    ledger.node_joined("node:0")
    ledger.worker_joined("node:0", "worker:0:0")
    told.clear()
    return ledger


def test_a_report_is_summed_up_per_node(ledger, told):
    ledger.worker_joined("node:0", "worker:0:1")
    ledger.report(PLACE, {"facts": {"running": 2, "queued": 3, "memory": 100, "memory_available": 7}})
    ledger.report(
        PLACE._replace(uid="worker:0:1"), {"facts": {"running": 1, "queued": 0, "memory": 50, "memory_available": 5}}
    )

    node = ledger.nodes["node:0"]
    assert (node.facts["running"], node.facts["queued"], node.facts["memory"]) == (3, 3, 150)
    assert node.facts["memory_available"] == 5
    assert node.sub_resources["worker:0:0"].facts["reports"] == 1
    assert ledger.pending_tasks == 6
    assert told[-1] == ("update_node", "node:0", "alive")


def test_a_call_that_is_reported_is_told_once_per_state(ledger, told):
    for state in ("queued", "queued", "running", "done", "done"):
        ledger.report(PLACE, {"tasks": [["call-1", "tess-1", "add", state]]})

    assert [entry for entry in told if entry[0] == "update_task"] == [
        ("update_task", "call-1", state) for state in ("queued", "running", "done")
    ]
    task = ledger.tasks["call-1"]
    assert (task.worker, task.tessera, task.method) == ("worker:0:0", "tess-1", "add")


def test_a_worker_that_left_loses_its_calls_and_is_no_resource_any_more(ledger, told):
    ledger.report(PLACE, {"tasks": [["call-1", "tess-1", "add", "running"], ["call-2", "tess-1", "add", "done"]]})
    ledger.worker_left("node:0", "worker:0:0")

    assert (ledger.tasks["call-1"].state, ledger.tasks["call-2"].state) == ("lost", "done")
    assert ledger.nodes["node:0"].sub_resources == {}
    assert ("update_task", "call-1", "lost") in told
    ledger.report(PLACE, {"facts": {"running": 9}})
    assert ledger.pending_tasks == 0


def test_a_node_that_left_is_told_with_its_reason(ledger, told):
    node = ledger.nodes["node:0"]

    ledger.node_left("node:0", "cut off")

    assert told == [("update_node", "node:0", "left")]
    assert node.facts["reason"] == "cut off"
    assert ledger.nodes == {}


@pytest.mark.parametrize("many", [False, True])
def test_events_come_one_by_one_or_in_a_list(ledger, told, many):
    messages = [{"uid": "call-1", "state": "queued"}, {"uid": "call-1", "state": "running", "tessera": "tess-1"}]

    if many:
        ledger.add_task_event("worker:0:0", messages)
    else:
        for message in messages:
            ledger.add_task_event("worker:0:0", message)

    task = ledger.tasks["call-1"]
    assert (task.state, task.tessera) == ("running", "tess-1")
    assert [event["state"] for event in task.events] == ["queued", "running"]
    assert told == [("update_task", "call-1", "queued"), ("update_task", "call-1", "running")]


def test_events_of_tesserae_change_their_state(ledger, told):
    ledger.add_tessera_event("worker:0:0", {"uid": "tess-1", "class_name": "Counter"})
    ledger.add_tessera_event("worker:0:0", [{"uid": "tess-1", "state": "collected"}])

    tessera = ledger.tesserae["tess-1"]
    assert (tessera.class_name, tessera.worker, tessera.state) == ("Counter", "worker:0:0", "collected")
    assert told[-1] == ("update_tessera", "tess-1", "collected")


def test_profiles_are_kept_beside_events(ledger):
    ledger.add_task_profile("worker:0:0", [{"uid": "call-1", "took": 0.5}])
    ledger.add_tessera_profile("worker:0:0", {"uid": "tess-1", "calls": 3})

    assert list(ledger.tasks["call-1"].profiles) == [{"sender": "worker:0:0", "uid": "call-1", "took": 0.5}]
    assert ledger.tesserae["tess-1"].profiles[0]["calls"] == 3


@pytest.mark.parametrize("message", [{}, {"state": "done"}, "call-1", None, {"uid": 7}])
def test_a_message_without_a_uid_is_refused(ledger, message):
    with pytest.raises(ValueError, match="uid"):
        ledger.add_task_event("head", message)


def test_nodes_are_updated_by_uid_or_by_kind_and_uid(ledger):
    ledger.update_node("node:0", {"cpu_load": 12.5}, {"worker:0:0": {"memory": 1}})
    ledger.update_node("node:0", {}, {"workers": {"worker:0:0": {"memory": 2}}})

    node = ledger.nodes["node:0"]
    assert node.facts["cpu_load"] == 12.5
    assert node.sub_resources["worker:0:0"].facts["memory"] == 2


def test_what_ended_is_forgotten_when_there_is_much_of_it(ledger):
    for number in range(ENDED_KEPT + 5):
        ledger.add_task_event("head", {"uid": f"call-{number}", "state": "done"})
        ledger.tessera_changed(MonitoredTessera(f"tess-{number}", state="collected"))
    ledger.add_task_event("head", {"uid": "open", "state": "running"})

    assert len(ledger.tasks) == ENDED_KEPT + 1
    assert len(ledger.tesserae) == ENDED_KEPT
    assert "call-0" not in ledger.tasks
    assert "open" in ledger.tasks


def test_of_one_task_only_the_last_events_are_kept(ledger):
    for number in range(EVENTS_KEPT + 1):
        ledger.add_task_event("head", {"uid": "call-1", "number": number})

    assert [event["number"] for event in ledger.tasks["call-1"].events] == list(range(1, EVENTS_KEPT + 1))


def test_everything_is_described_in_plain_values(ledger):
    ledger.tessera_changed(MonitoredTessera("tess-1", "Counter", "worker:0:0"))
    ledger.report(
        PLACE, {"facts": {"running": 1}, "tesserae": [["tess-1", 4]], "tasks": [["call-1", "tess-1", "add", "running"]]}
    )

    described = ledger.describe([PLACE])

    assert described["workers"][0] == {
        "uid": "worker:0:0", "node": "node:0", "address": "slave-1/1", "pid": 4711, "running": 1, "reports": 1,
    }  # fmt: skip
    assert described["tesserae"][0]["unfinished"] == 4
    assert described["tasks"][0]["state"] == "running"
    assert described["nodes"][0]["running"] == 1
