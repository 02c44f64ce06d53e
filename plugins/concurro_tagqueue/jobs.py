r"""`run_job`: a whole job in one script.

python job.py                  run_job: master_class(label).start()
  \-- launched slaves          the same script again: run_job: slave_class(label).start()
concurrent tags slave LABEL    the same, on any machine that reaches the master
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concurro_tagqueue.assignment import assigned, share_script
from concurro_tagqueue.places import LabelInUseError
from concurro_tagqueue.slave_program import store_script

if TYPE_CHECKING:
    from concurro_tagqueue.master_process import MasterProcess
    from concurro_tagqueue.slave_process import SlaveProcess


def run_job(  # noqa: PLR0913 - a fixed public signature
    label: str,
    master_class: type[MasterProcess],
    slave_class: type[SlaveProcess],
    watchdog_period: float | None = 120.0,
    launch_slaves: int = 0,
    *,
    master: str | None = None,
    config: Any = None,
) -> Any:
    """Run a job whose master and slaves are written in this script.

    In a process that was started as a slave of this job it works as one, and ends the process; in a
    slave of another job it does nothing.

    Args:
        label: Label of the job.
        master_class: A subclass of `MasterProcess`.
        slave_class: A subclass of `SlaveProcess`.
        watchdog_period: How often a slave tells that it lives [s]; None for never.
        launch_slaves: How many slave processes to start on this machine.
        master: Address of a master; see `MasterProcess`.
        config: What `Config.load` takes.

    Returns:
        What `master_class.run` returned.
    """
    told = assigned()
    if told is not None:
        if told.label != label:
            return None
        slave_class(label, watchdog_period=watchdog_period).start()
        sys.exit()
    options = {name: value for name, value in {"master": master, "config": config}.items() if value is not None}
    try:
        process = master_class(label, **options)
    except LabelInUseError as error:
        raise error.with_traceback(None) from None  # its text says all: it is no fault of the script
    with process:
        script = getattr(sys.modules["__main__"], "__file__", None)
        if script is not None and process.master_url:
            share_script(store_script(process.task_manager, Path(script), sys.argv[1:]))
        if launch_slaves:
            process.launch_slave_jobs(launch_slaves)
        return process.start()


runJob = run_job  # noqa: N816 - a fixed public name
