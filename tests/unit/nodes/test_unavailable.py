"""What is not there yet is refused, not ignored."""

import pytest

from concurro import ConfigError, SlaveNode, TaskSystem
from concurro.nodes.application import ApplicationNode


@pytest.mark.parametrize("manager", ["thread-pool", "inline"])
def test_a_slave_refuses_a_limit_that_its_task_manager_could_not_keep(manager):
    slave = SlaveNode({"slave.memory_limit": "1 GiB", "slave.task_manager": manager})

    with pytest.raises(ConfigError, match=rf"slave\.memory_limit needs .* task manager '{manager}' cannot keep it"):
        slave.start()


def test_restarts_are_refused_at_submission():
    application = ApplicationNode("ipc:///nowhere/master")

    with pytest.raises(ValueError, match="restarts need a master with a journal"):
        application.submit(TaskSystem(), restarts=1)

    application.close()
