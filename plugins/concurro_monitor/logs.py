"""Logs of runtimes: what they say of themselves.

And what others say to them.

worker: logger "concurro.runtime" --> head, by way of the monitor --> its log
"""

from __future__ import annotations

import asyncio
import builtins
import logging
from typing import Any, NoReturn

from concurro import ServiceFailedError
from concurro_monitor.foundation import Foundation
from concurro_monitor.remote import RuntimeProxy

PERF = 15
"""Level of the stream for measurements, between debug and info."""

LOGGER = "concurro.runtime"

_STREAMS = {
    "debug": logging.DEBUG,
    "perf": PERF,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class Logs(Foundation):
    """The part of a runtime that logs. Thread-safe.

    Attributes:
        logger: For what users have to say; see `set_logger`.
    """

    def __init__(self, application: Any = None, **settings: Any) -> None:
        super().__init__(application, **settings)
        self.logger = logging.getLogger(LOGGER)
        self._log_handler: logging.Handler | None = None

    def set_logger(self, level: str = "info") -> None:
        """Set up logging, from a level on.

        `debug`, `perf`, `info`, `warning` or `error`. Idempotent.

        What is logged as `concurro.runtime` in a worker is told to the program too, which logs it; in
        a program it goes to the standard error stream, unless logging was set up already.

        Raises:
            ValueError: There is no such level.
        """
        if level not in _STREAMS:
            message = f"there is no level {level!r} to log from; there are {', '.join(_STREAMS)}"
            raise ValueError(message)
        logging.addLevelName(PERF, "PERF")
        self.logger.setLevel(_STREAMS[level])
        if self._log_handler is not None:
            return
        if self.is_worker:
            self._log_handler = _ToHead(self)
        elif not self.logger.hasHandlers():
            self._log_handler = logging.StreamHandler()
            self._log_handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
        if self._log_handler is not None:
            self.logger.addHandler(self._log_handler)

    def log_debug(self, sender_id: str, buf: str) -> None:
        """Log what a runtime says, for who looks for a fault."""
        self._log("debug", sender_id, buf)

    def log_perf(self, sender_id: str, buf: str) -> None:
        """Log what a runtime has measured."""
        self._log("perf", sender_id, buf)

    def log_info(self, sender_id: str, buf: str) -> None:
        """Log what a runtime says."""
        self._log("info", sender_id, buf)

    def log_warning(self, sender_id: str, buf: str) -> None:
        """Log what a runtime warns of."""
        self._log("warning", sender_id, buf)

    def log_error(self, sender_id: str, buf: str) -> None:
        """Log what went wrong in a runtime."""
        self._log("error", sender_id, buf)

    def _log(self, stream: str, sender_id: str, buf: str) -> None:
        self.logger.log(_STREAMS[stream], "%s: %s", sender_id, str(buf).rstrip("\n"))

    def raise_exception(self, sender_id: str, exc: Any) -> NoReturn:
        """Raise what went wrong in another runtime.

        Args:
            sender_id: Where.
            exc: The exception; or `(type name, text, traceback)`, also as a dict of `type_name`, `text` and
                `traceback`.

        Raises:
            Exception: That; ServiceFailedError when it cannot be rebuilt.
        """
        error = exc if isinstance(exc, BaseException) else _rebuilt(exc)
        error.add_note(f"raised in {sender_id}")
        raise error

    def end_logs(self) -> None:
        """Take back what `set_logger` did."""
        handler, self._log_handler = self._log_handler, None
        if handler is not None:
            self.logger.removeHandler(handler)


class _ToHead(logging.Handler):
    """Tells the program what a worker logs."""

    def __init__(self, runtime: Any) -> None:
        super().__init__()
        self._runtime = runtime

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; nobody waits for it."""
        reached = [name for name, level in _STREAMS.items() if level <= record.levelno] or ["debug"]
        stream = reached[-1]
        try:
            text = record.getMessage()
            head = RuntimeProxy("head", runtime=self._runtime)
            self._runtime.loop.start(_tell(head, stream, text))
        except Exception:  # noqa: BLE001 - logging raises nothing
            self.handleError(record)


async def _tell(head: RuntimeProxy, stream: str, text: str) -> None:
    await (await asyncio.to_thread(lambda: getattr(head, f"log_{stream}")(text)))


def _rebuilt(description: Any) -> Exception:
    """Return an exception as it was described."""
    if isinstance(description, dict):
        facts = [str(description.get(name, "")) for name in ("type_name", "text", "traceback")]
    else:
        facts = [str(fact) for fact in (*description, "", "", "")[:3]]
    kind = getattr(builtins, facts[0], None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(facts[1])
        except TypeError:
            pass
    return ServiceFailedError(*facts)
