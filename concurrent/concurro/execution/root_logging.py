"""What tasks share of `logging`, and must leave as it was."""

from __future__ import annotations

import contextlib
import logging


class RootLogging:
    """Level, handlers and filters of the root logger, and what is disabled.

    `logging.warning` alone changes them, so that they are put back, and not a reason for another
    process. A look takes 0.3 us, once per chunk. Other loggers are not looked at.
    """

    def __init__(self) -> None:
        self.take()

    def take(self) -> None:
        """Let what is now be what is put back."""
        root = logging.root
        self._handlers = list(root.handlers)
        self._filters = list(root.filters)
        self._level = root.level
        self._disabled = root.disabled
        self._disable = root.manager.disable

    def put_back(self) -> None:
        """Undo what a task changed. Its own handlers are flushed, not closed."""
        root = logging.root
        if root.handlers != self._handlers:
            with contextlib.suppress(BaseException):  # a handler may be anything, and its file closed
                for handler in root.handlers:
                    handler.flush()
            root.handlers = list(self._handlers)
        if root.filters != self._filters:
            root.filters = list(self._filters)
        if root.disabled != self._disabled:
            root.disabled = self._disabled
        if root.level != self._level:
            root.setLevel(self._level)  # drops what loggers remember of levels
        if root.manager.disable != self._disable:
            logging.disable(self._disable)
