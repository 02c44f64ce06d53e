"""`concurro` hands on what the documentation promises, and little more."""

from __future__ import annotations

import concurro
from concurro import errors

PROMISED = """
    Interface Attribute implementer
    ITaskManager ITaskScheduler ITaskScheduleStrategy ITaskSystem IMaster ISchedulerHost IMasterService IWorkerService
    ICommandGroup ILifecycle
    Component ExtensionPoint Selected
    BoolOption IntOption FloatOption StrOption ListOption PathOption AddressOption DurationOption SizeOption
    Environment Config
    Task TaskSystem
    MasterNode SlaveNode ApplicationNode LocalCluster
    ClusterExecutor SystemHandle current_application
""".split()  # noqa: SIM905 - reads as the documentation groups them
MOST_NAMES = 50

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}


def test_every_promised_name_is_there():
    missing = [name for name in PROMISED if name not in concurro.__all__ or not hasattr(concurro, name)]

    assert missing == []


def test_every_error_is_there():
    assert set(concurro.__all__) >= ERRORS


def test_the_public_names_stay_few():
    assert len(set(concurro.__all__) - ERRORS) <= MOST_NAMES


def test_every_public_name_exists_once():
    assert len(concurro.__all__) == len(set(concurro.__all__))
    assert all(hasattr(concurro, name) for name in concurro.__all__)
