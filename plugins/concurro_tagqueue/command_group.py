"""Offers `concurrent tags`; what it does is imported when it is called."""

from __future__ import annotations

from typing import Any

from concurro import Component, ICommandGroup, implementer


@implementer(ICommandGroup)
class TagCommands(Component):
    """Look at jobs by their labels, and start slave processes for them."""

    name = "tags"

    def command(self) -> Any:
        """Return the commands."""
        from concurro_tagqueue.commands import tags_group  # noqa: PLC0415 - see above

        return tags_group
