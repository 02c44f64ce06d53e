"""Profiles: when calls began and how long they took.

And where that is written.

worker: Profile --request_profile--> update --send_profile--> monitor --> file, a JSON text a line
"""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from concurro_monitor.awaiting import Answer
from concurro_monitor.foundation import Foundation

if TYPE_CHECKING:
    from io import TextIOWrapper

CALLS_KEPT = 10_000
"""So many calls are kept until somebody asks; beyond it the oldest are dropped."""

UPDATES_KEPT = 1000
"""So many updates of others are kept."""


class ProfiledCall(NamedTuple):
    """A call that ended.

    Attributes:
        uid: Its name.
        tessera: Uid of the tessera.
        method: What was called.
        began: When, by the monotonic clock of that machine [s].
        took: How long its method ran, its tries together [s].
        ok: Whether it returned.
    """

    uid: str
    tessera: str
    method: str
    began: float
    took: float
    ok: bool


class Profile:
    """What calls took. Thread-safe."""

    def __init__(self) -> None:
        self._calls: deque[ProfiledCall] = deque(maxlen=CALLS_KEPT)

    def add(self, call: ProfiledCall) -> None:
        """Note a call."""
        self._calls.append(call)

    def take(self) -> list[list[Any]]:
        """Return the calls since the last time."""
        taken = []
        while self._calls:
            taken.append(list(self._calls.popleft()))
        return taken


class Profiles(Foundation):
    """The part of a runtime that measures. Thread-safe.

    Attributes:
        profile: What is measured here; None before `set_profiler`.
        received: What others sent, `(uid, update)`.
    """

    def __init__(self, application: Any = None, **settings: Any) -> None:
        super().__init__(application, **settings)
        self.profile: Profile | None = None
        self.received: deque[tuple[str, dict[str, Any]]] = deque(maxlen=UPDATES_KEPT)
        self._profile_file: TextIOWrapper | None = None

    def set_profiler(self, path: Any = "") -> None:
        """Begin to measure the calls that run here. Idempotent.

        Args:
            path: A file that everything received from now on is appended to; empty for none.

        Raises:
            OSError: The file cannot be written.
        """
        with self._lock:
            if self.profile is None:
                self.profile = Profile()
            if path:
                self.end_profile()
                self._profile_file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - closed by `end_profile`

    def request_profile(self, sender_id: str) -> dict[str, Any]:  # noqa: ARG002 - the seed's signature
        """Return what was measured since the last time: `uid`, `calls`, `figures`.

        Raises:
            RuntimeError: Nothing is measured: `set_profiler` was not called here.
        """
        if self.profile is None:
            message = f"{self!r} measures nothing; call its set_profiler() first"
            raise RuntimeError(message)
        return {"uid": self.uid, "calls": self.profile.take(), "figures": self.figures()}

    def figures(self) -> dict[str, Any]:
        """Return load and memory, by name."""
        return {}

    def send_profile(self) -> Answer[None]:
        """Send to the monitor what was measured since the last time.

        Raises:
            RuntimeError: Nothing is measured here.
        """
        return Answer.of_future(self.ask("recv_profile", self.uid, self.request_profile(self.uid)), name="the profile")

    def tell_profile(self) -> None:
        """Send what was measured, if anything was; wait for nothing."""
        if self.profile is not None:
            update = self.request_profile(self.uid)
            if update["calls"]:
                self.application.service("monitor").tell("recv_profile", self.uid, update)

    def recv_profile(self, sender_id: str, profiler_update: dict[str, Any]) -> None:
        """Keep what another runtime measured.

        And write it to the file that `set_profiler` opened.
        """
        self.received.append((sender_id, profiler_update))
        self.write_profile({"profile": profiler_update, "sender": sender_id})

    def write_profile(self, entry: dict[str, Any]) -> bool:
        """Append a line to the file; return False when there is none."""
        with self._lock:
            if self._profile_file is None:
                return False
            self._profile_file.write(json.dumps(entry, default=str) + "\n")
            self._profile_file.flush()
            return True

    def end_profile(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            if self._profile_file is not None:
                self._profile_file.close()
                self._profile_file = None
