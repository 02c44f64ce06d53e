"""A strategy in shadow mode: asked and compared, never obeyed, never in the way."""

from __future__ import annotations

import json
import logging

import pytest

from concurro.errors import ComponentNotFoundError, ConfigError
from concurro.interfaces import ITaskScheduler, ITaskScheduleStrategy, implementer
from concurro.kernel import Component, Environment
from concurro.scheduling.expectation import ASSUMED_RATE
from concurro.scheduling.shadow import Shadow, ShadowHost
from concurro.scheduling.strategies import LeastLoaded, TwoChoices
from tests.unit.scheduling.cluster import MICROSECOND, Cluster
from tests.unit.scheduling.strategy_driver import STRATEGIES, Field

LOG = logging.getLogger("concurro.rated")


@implementer(ITaskScheduleStrategy)
class Odd(Component):
    """Does what a test says."""

    name = "odd"

    def setup(self, scheduler, master):
        """Keep both."""
        self.scheduler = scheduler
        self.master = master

    def rate(self, slave):
        """Like all alike."""
        return 0.0

    def get_next_slave(self, task=None, slaves=None):
        """Choose the last."""
        return list(self.master.slaves if slaves is None else slaves)[-1]


def odd(**methods):
    return implementer(ITaskScheduleStrategy)(type("Odd", (Odd,), methods))


def shadowed(shadow, strategy="least-loaded"):
    """Return a cluster with a strategy in the shadow of another."""
    settings = {"master": {"strategy": strategy}, "rated": {"shadow": shadow if isinstance(shadow, str) else "odd"}}
    env = Environment(settings, kind="master", plugins=[] if isinstance(shadow, str) else [shadow])
    return Cluster(env.selected(ITaskScheduler, "master.scheduler"))


def run_a_job(cluster):
    """Let slaves of unequal speed do forty tasks; return who did which."""
    cluster.join("a", "b", "c", workers=2)
    seconds = {"a": 1.0, "b": 1.0, "c": 8.0}
    system = cluster.system()
    cluster.emit(system, 40)
    done = []
    for _ in range(200):
        cluster.step(0.5)
        for task in [task for task in system.open.values() if task.lease]:
            if cluster.now - task.leased_at >= seconds[task.slave_id]:
                done.append((task.number, task.slave_id))
                cluster.end(task, seconds=seconds[task.slave_id])
    assert not system.open
    return done


@pytest.mark.parametrize(
    ("strategy", "shadow"),
    [
        (real, factory.name)
        for real in ("two-choices", "least-loaded", "throughput")
        for factory in STRATEGIES
        if factory.name != real
    ],
)
def test_a_shadow_changes_nothing_that_the_real_strategy_does(strategy, shadow):
    alone = run_a_job(Cluster(strategy=strategy))

    cluster = shadowed(shadow, strategy)

    assert run_a_job(cluster) == alone
    assert cluster.core.scheduler.shadow_report["failure"] == ""
    assert cluster.core.scheduler.shadow_report["decisions"] >= 40


@pytest.mark.parametrize("method", ["setup", "rate", "get_next_slave"])
def test_a_shadow_that_raises_is_switched_off_and_says_so_once(method, caplog):
    def fail(self, *arguments, **keywords):
        message = "no idea"
        raise ValueError(message)

    cluster = shadowed(odd(**{method: fail}))

    done = run_a_job(cluster)

    assert len(done) == 40
    assert cluster.core.scheduler.shadow_report["failure"] == f"Odd.{method} raised ValueError: no idea"
    assert sum("is no shadow any more" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("choice", ["nobody", 7, ["a"], "sick"])
def test_a_shadow_that_chooses_whom_it_may_not_is_switched_off(choice):
    cluster = shadowed(odd(get_next_slave=lambda self, task=None, slaves=None: choice))
    cluster.join("north", "sick")
    cluster.core.slave_changed("sick", 1, "its workers die", {})
    cluster.emit(cluster.system(), 1)

    cluster.step()

    assert cluster.loads() == {"north": 1, "sick": 0}
    assert "Odd.get_next_slave raised" in cluster.core.scheduler.shadow_report["failure"]


@pytest.mark.parametrize("call", ["lease", "take_back", "finish", "warn"])
def test_a_shadow_that_wants_to_act_is_switched_off(call):
    def act(self, task=None, slaves=None):
        arguments = [task, "north"] if call == "lease" else [task.system, ""] if call != "take_back" else [[1]]
        getattr(self.master, call)(*arguments)

    cluster = shadowed(odd(get_next_slave=act))
    cluster.join("north")
    (task,) = cluster.emit(cluster.system(), 1)

    cluster.step()

    assert task.attempt == 1
    assert f"called {call}, which would have an effect" in cluster.core.scheduler.shadow_report["failure"]


def test_a_shadow_cannot_reach_the_scheduler():
    cluster = shadowed(odd(rate=lambda self, slave: self.scheduler.push_tasks([])))
    cluster.join("north")

    cluster.step()

    assert "called push_tasks" in cluster.core.scheduler.shadow_report["failure"]


def test_a_shadow_sees_slaves_that_it_cannot_change():
    field = Field(LeastLoaded())
    field.join("north")
    host = ShadowHost(field.host)

    with pytest.raises(TypeError):
        host.slaves["north"] = None

    field.join("south")
    assert set(host.slaves) == {"north", "south"}


def test_a_shadow_that_draws_does_not_disturb_the_masters_random_numbers():
    field = Field(LeastLoaded())
    before = field.host.random.getstate()
    shadow = Shadow("two-choices", TwoChoices(), field.host, LOG)
    for slave in field.join("a", "b", "c"):
        shadow.rate(slave)

    shadow.decide(field.task(), None, "a")

    assert shadow.report()["decisions"] == 1
    assert field.host.random.getstate() == before


@pytest.fixture
def field():
    return Field(LeastLoaded())


def beside(field, choice):
    """Return a shadow that makes one choice always."""
    factory = odd(get_next_slave=lambda self, task=None, slaves=None: choice)
    return Shadow("odd", factory(), field.host, LOG)


def test_the_regret_is_what_the_shadows_choice_would_be_done_sooner(field):
    square = field.task_class(0, "Square", mean=3.0)
    field.join("slow", durations={"Square": 5.0})
    field.join("fast", durations={"Square": 2.0})
    shadow = beside(field, "fast")

    shadow.decide(field.task(square), None, "slow")
    shadow.decide(field.task(square), ["slow", "fast"], "fast")

    report = shadow.report()
    assert report["regret"] == pytest.approx(3.0)
    assert report["expected"] == pytest.approx(7.0)
    assert (report["decisions"], report["different"]) == (2, 1)


def test_the_regret_counts_what_is_held_before_it_and_what_must_move(field):
    square = field.task_class(0, "Square", mean=3.0)
    field.join("full", "far", workers=2)
    field.hold("full", 4, square)
    field.have("full", b"large")
    task = field.task(square)
    task.blobs = [["buffer", b"large", int(4 * ASSUMED_RATE)]]
    shadow = beside(field, "far")

    shadow.decide(task, None, "full")

    assert shadow.report()["regret"] == pytest.approx(4 * 3.0 / 2 - 4.0)


def test_a_shadow_that_does_worse_has_a_negative_regret(field):
    square = field.task_class(0, "Square", mean=3.0)
    field.join("slow", durations={"Square": 5.0})
    field.join("fast", durations={"Square": 2.0})
    shadow = beside(field, "slow")

    shadow.decide(field.task(square), None, "fast")

    assert shadow.report()["regret"] == pytest.approx(-3.0)


def test_waiting_is_counted_and_not_judged(field):
    field.join("north")
    shadow = beside(field, None)

    shadow.decide(field.task(), None, "north")
    shadow.decide(field.task(), None, None)

    report = shadow.report()
    assert (report["decisions"], report["waits"], report["real_waits"], report["different"]) == (2, 2, 1, 1)
    assert report["regret"] == 0.0


def test_the_fault_of_the_real_strategy_is_not_the_shadows(field):
    field.join("north")
    shadow = beside(field, "north")

    shadow.decide(field.task(), None, "nobody")

    assert shadow.report()["decisions"] == 0
    assert shadow.report()["failure"] == ""


def test_many_decisions_leave_nothing_behind_but_counts(field):
    field.join("north")
    shadow = beside(field, "north")
    before = set(vars(shadow))

    for _ in range(1000):
        shadow.decide(field.task(), None, "north")

    assert set(vars(shadow)) == before
    assert not [value for value in vars(shadow).values() if isinstance(value, dict | list | set)]
    json.dumps(shadow.report())


def test_without_a_shadow_there_is_no_report(cluster):
    assert cluster.core.scheduler.shadow_report is None


def test_a_task_that_is_sent_ahead_is_a_decision_as_well():
    cluster = shadowed("round-robin")
    cluster.join("north")
    system = cluster.system()
    cluster.measure(system, MICROSECOND)
    cluster.emit(system, 1000)

    cluster.step()

    assert cluster.loads() == {"north": 1000}
    assert cluster.core.scheduler.shadow_report["decisions"] >= 2


def test_an_unknown_shadow_is_refused_with_its_place_and_the_closest_name(tmp_path):
    file = tmp_path / "concurrent.toml"
    file.write_text('[rated]\nshadow = "througput"\n')
    scheduler = Environment(file, kind="master").selected(ITaskScheduler, "master.scheduler")

    with pytest.raises(ComponentNotFoundError) as caught:
        Cluster(scheduler)

    assert f"{file}:2: rated.shadow = 'througput'" in str(caught.value)
    assert "did you mean 'throughput'?" in str(caught.value)


def test_a_strategy_in_its_own_shadow_is_refused(tmp_path):
    file = tmp_path / "concurrent.toml"
    file.write_text('[master]\nstrategy = "locality"\n[rated]\nshadow = "locality"\n')
    scheduler = Environment(file, kind="master").selected(ITaskScheduler, "master.scheduler")

    with pytest.raises(ConfigError, match="that is the strategy in force already; name another") as caught:
        Cluster(scheduler)

    assert f"{file}:4" in str(caught.value)
