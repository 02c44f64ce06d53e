"""What an agent and its worker for services say to each other.

Apart from `service_worker`, since an agent needs none of what that imports.
"""

from __future__ import annotations

from enum import IntEnum

MODULE = "concurro.execution.service_worker"
"""What the launcher runs."""


class StaffNote(IntEnum):
    """The kinds of messages between an agent and its worker for services."""

    # Agent to worker.
    SETUP = 0  # [config, plugins, address]
    OPEN = 1  # [line, service, who]; with a socket as frame 1, maybe
    # Worker to agent.
    OPENED = 2  # [line, straight]
    # Either way.
    LINE = 3  # [line], and the frames of a message
    END = 4  # [line, code, text]
