r"""Tag queue: tasks that processes take by tag, as in ScientificPython.

    requester                     task manager                      taker (any number)
    add_task_request(tag, p) ---> waiting, by tag ---- get_task_with_tag / get_any_task --> runs it
                                  running <----------- ping, return_task ------------------
    get_any_result() <----------- finished <---------- store_result / store_exception -----
                                  data items: store_data, retrieve_data, for everybody

In one process, for its threads: `TaskManager()`. For processes that come and go: `TaskManager.connect(master,
label)`, the same methods, with the tasks at a running master; see `proxy` and `service`.

Above it, programs in two parts: `MasterProcess` asks for tasks, `SlaveProcess` does them by methods of their
tags; `run_job` has both in one script.
"""

from __future__ import annotations

from concurro_tagqueue.errors import (
    QueueLostError,
    TakerLostError,
    TaskManagerTermination,
    TaskRaisedException,
    UnknownDataError,
    UnknownProcessError,
    UnknownTaskError,
    WaitTimeoutError,
)
from concurro_tagqueue.global_states import GlobalStateValue, UnknownStateError
from concurro_tagqueue.jobs import run_job, runJob
from concurro_tagqueue.master_process import MasterProcess
from concurro_tagqueue.places import LabelInUseError
from concurro_tagqueue.proxy import TaskManagerProxy
from concurro_tagqueue.records import LabelRecord, TagCounts
from concurro_tagqueue.slave_process import SlaveProcess
from concurro_tagqueue.surface import TaskManagerMethods
from concurro_tagqueue.task_manager import TaskManager

__all__ = [
    "GlobalStateValue",
    "LabelInUseError",
    "LabelRecord",
    "MasterProcess",
    "QueueLostError",
    "SlaveProcess",
    "TagCounts",
    "TakerLostError",
    "TaskManager",
    "TaskManagerMethods",
    "TaskManagerProxy",
    "TaskManagerTermination",
    "TaskRaisedException",
    "UnknownDataError",
    "UnknownProcessError",
    "UnknownStateError",
    "UnknownTaskError",
    "WaitTimeoutError",
    "runJob",
    "run_job",
]
