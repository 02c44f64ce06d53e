"""How log lines look to people: the message, without the names of ours.

`concurro.nodes.dialer` says nothing to who types a command; that of a library does.
"""

from __future__ import annotations

import logging

_OWN = "concurro"


class Plain(logging.Formatter):
    """Puts the name of the logger before the messages of others only."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        text = super().format(record)
        return text if record.name.partition(".")[0] == _OWN else f"{record.name}: {text}"


def log_for_people() -> None:
    """Write warnings to standard error, unless somebody set up logging before."""
    handler = logging.StreamHandler()
    handler.setFormatter(Plain())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
