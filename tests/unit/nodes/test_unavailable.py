"""What is not there yet is refused, not ignored."""

import pytest

from concurro import ApplicationNode, ConfigError, SlaveNode, TaskSystem


@pytest.mark.parametrize("manager", ["thread-pool", "inline"])
def test_a_slave_refuses_a_limit_that_its_task_manager_could_not_keep(manager):
    slave = SlaveNode({"slave.memory_limit": "1 GiB", "slave.task_manager": manager})

    with pytest.raises(ConfigError, match=rf"slave\.memory_limit needs .* task manager '{manager}' cannot keep it"):
        slave.start()


@pytest.mark.parametrize("restarts", [-1, 1.5, "two"])
def test_restarts_that_are_no_count_are_refused(restarts):
    application = ApplicationNode("ipc:///nowhere/master")

    with pytest.raises(ValueError, match="restarts must be a whole number, 0 or more"):
        application.submit(TaskSystem(), restarts=restarts)

    application.close()
