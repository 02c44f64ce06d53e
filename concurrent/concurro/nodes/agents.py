"""Which agent runs a slave's tasks: `[slave] task_manager` says."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

from concurro.errors import ConfigError
from concurro.execution.devices import RESOURCE, device_names
from concurro.execution.tidying import keep_tidy
from concurro.interfaces import ITaskManager

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from concurro.config import Config
    from concurro.execution.agent import SlaveAgent
    from concurro.execution.launcher_process import LauncherProcess
    from concurro.execution.launching import Launcher
    from concurro.execution.managed import ManagedAgent
    from concurro.kernel import Environment
    from concurro.transport.loop import Loop
    from concurro.wire.messages import Kind

NATIVE = "process-pool"
"""The task manager whose workers the agent drives itself, with payloads it never opens."""


def make_agent(
    env: Environment,
    loop: Loop,
    send: Callable[[Kind, list[Any], Sequence[Any]], None],
    backlog: Callable[[], int] = lambda: 0,
    process: LauncherProcess | None = None,
) -> Any:
    """Return the agent of a slave node: a `SlaveAgent` or a `ManagedAgent`.

    Args:
        env: The environment of the node.
        loop: Its loop.
        send: Sends a message to the master: kind, body, further frames.
        backlog: Says how many bytes wait on the way to the master [B].
        process: A launcher that runs already.

    Raises:
        ComponentError: The task manager cannot be used.
        ConfigError: It cannot keep what `[slave]` says.
    """
    config = env.config
    workers = int(config["slave.workers"])
    resources = dict(config["slave.resources"])
    manager = str(config["slave.task_manager"])
    if manager == NATIVE:
        from concurro.execution.agent import SlaveAgent  # noqa: PLC0415 - who only asks for NATIVE needs none of it

        limit = config["slave.memory_limit"]
        agent = SlaveAgent(
            loop,
            send=send,
            workers=workers,
            resources=resources,
            backlog=backlog,
            memory_limit=limit,
            devices=_devices(config),
            process=process,
            settings=lambda: (pickle.dumps(config), list(env.plugins)),
        )
        keep_tidy(loop, agent.blobs)
        return agent
    if config["slave.memory_limit"]:
        message = (
            f"slave.memory_limit needs worker processes of its own: the task manager {manager!r} cannot keep it; "
            f"leave it empty, or choose {NATIVE!r}"
        )
        raise ConfigError(message, config.origin("slave.memory_limit"))
    return _managed(env, loop, send, workers, resources)


def make_standalone_agent(
    env: Environment,
    loop: Loop,
    send: Callable[[Kind, list[Any], Sequence[Any]], None],
    name: str,
    launcher: Launcher,
) -> SlaveAgent:
    """Return the agent inside a standalone master.

    Its tasks run in worker processes.

    Raises:
        ConfigError: `[slave] task_manager` would run tasks in the master's process.
    """
    config = env.config
    manager = str(config["slave.task_manager"])
    if manager != NATIVE:
        message = (
            f"a standalone master cannot use the task manager {manager!r}: tasks would run in its own process; "
            f"start a slave beside it"
        )
        raise ConfigError(message, config.origin("slave.task_manager"))
    from concurro.execution.agent import SlaveAgent  # noqa: PLC0415 - who only asks for NATIVE needs none of it

    agent = SlaveAgent(
        loop,
        send=send,
        workers=int(config["slave.workers"]),
        name=name,
        resources=dict(config["slave.resources"]),
        launcher=launcher,
        memory_limit=config["slave.memory_limit"],
        devices=_devices(config),
        settings=lambda: (pickle.dumps(config), list(env.plugins)),
    )
    agent.use_descriptors(lambda: True)
    keep_tidy(loop, agent.blobs)
    return agent


def _devices(config: Config) -> list[str]:
    """Return the names of the devices that a slave offers.

    Raises:
        ConfigError: It may not see as many itself.
    """
    try:
        return device_names(float(config["slave.resources"].get(RESOURCE, 0)), os.environ.get("CUDA_VISIBLE_DEVICES"))
    except ValueError as error:
        raise ConfigError(str(error), config.origin("slave.resources")) from error


def _managed(
    env: Environment,
    loop: Loop,
    send: Callable[[Kind, list[Any], Sequence[Any]], None],
    workers: int,
    resources: dict[str, float],
) -> ManagedAgent:
    from concurro.execution.managed import ManagedAgent  # noqa: PLC0415 - few slaves need it

    manager = env.selected(ITaskManager, "slave.task_manager")
    address = str(env.config["slave.master"])
    return ManagedAgent(loop, send=send, manager=manager, address=address, workers=workers, resources=resources)
