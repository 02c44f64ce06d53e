"""What tasks share with their process, and must leave as it was."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C functions: the wrappers of `signal` look up an enum member per call
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNALS = tuple(
    int(getattr(_signal, name))
    for name in (
        "SIGINT",
        "SIGTERM",
        "SIGHUP",
        "SIGUSR1",
        "SIGUSR2",
        "SIGALRM",
        "SIGCHLD",
        "SIGPIPE",
        "SIGPROF",
        "SIGURG",
    )
    if hasattr(_signal, name)
)

DEVICE_VARIABLES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CONCURRENT_RESOURCE_GPU")
"""Environment variables that name the devices of an attempt."""

taker_of_signal: Callable[[int], Any] = _signal.getsignal
"""Says what takes a signal, in 20 ns."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """Working directory, environment, umask and signals at one moment.

    It is compared once per chunk; the whole comparison takes some microseconds.
    """

    folder: str
    environment: dict[Any, Any]
    umask: int
    signals: tuple[Any, ...]
    blocked: frozenset[int]

    @classmethod
    def now(cls) -> ProcessState:
        """Return the state of this process."""
        return cls(_folder(), _environment(), _umask(), _signals(), _blocked())

    def prepared(self) -> ProcessState:
        """Return the state as it is now, with the environment of this one.

        In the middle of a task the environment may show devices.
        """
        return replace(self.now(), environment=self.environment)

    def after_import(self) -> ProcessState:
        """Return the state with the environment as imports have left it."""
        return replace(self, environment=_environment())

    @staticmethod
    def show_devices(devices: list[str]) -> None:
        """Let libraries, and children, see some devices only."""
        for name in DEVICE_VARIABLES:
            os.environ[name] = ",".join(devices)

    def hide_devices(self) -> None:
        """Undo `show_devices`: the environment is as it was in that."""
        for name in DEVICE_VARIABLES:
            before = self.environment.get(os.environ.encodekey(name))
            if before is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = os.environ.decodevalue(before)

    def compare(self) -> str:
        """Return what is different now, in words; empty when nothing is."""
        changed = []
        if _folder() != self.folder:
            changed.append("the working directory")
        if _environment() != self.environment:
            changed.append("the environment")
        if _umask() != self.umask:
            changed.append("the umask")
        if _signals() != self.signals:
            changed.append("signal handlers")
        if _blocked() != self.blocked:
            changed.append("the blocked signals")
        if _signal.getitimer(_signal.ITIMER_REAL)[0]:
            changed.append("a running alarm")
        if _has_children():
            changed.append("child processes")
        return ", ".join(changed)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - it is compared, not used
    except OSError:
        return "?"


def _environment() -> dict[Any, Any]:
    return dict(os.environ._data)  # type: ignore[attr-defined]  # noqa: SLF001 - a copy without decoding each


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _signals() -> tuple[Any, ...]:
    return tuple(_signal.getsignal(number) for number in _SIGNALS)


def _blocked() -> frozenset[int]:
    return frozenset(_signal.pthread_sigmask(_signal.SIG_BLOCK, ()))


def _has_children() -> bool:
    """Say whether there is any child, without reaping it."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
