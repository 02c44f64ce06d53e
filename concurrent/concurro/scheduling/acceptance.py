"""What submitters are told, and when: once their system is kept. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.scheduling.commands import Send, StartHost
from concurro.wire.messages import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from concurro.scheduling.life import SystemLife
    from concurro.scheduling.recording import Recorder


class Acceptance:
    """Accepts submissions. Loop thread only.

    Args:
        recorder: Keeps a system before anybody is told that it is accepted.
        command: Takes what is to be done.
    """

    def __init__(self, recorder: Recorder, command: Callable[[Any], None]) -> None:
        self._recorder = recorder
        self._command = command

    def accept(self, life: SystemLife, peer: Hashable, token: int, now: float, wall: float) -> None:
        """Tell a submitter that its system is kept; start its host, once."""
        life.submitters.append((peer, token))
        if life.accepted:
            self._tell(life)
        elif len(life.submitters) == 1:
            self._recorder.accepted(life, wall, now, lambda _: self._accepted(life))

    def parts_arrived(
        self, life: SystemLife, submission: tuple[Hashable, int], error: str | None, now: float, wall: float
    ) -> bool:
        """Go on with a submission whose blobs are here, or do not come.

        Return whether nobody wants the system: it was refused.
        """
        peer, token = submission
        life.spooling -= 1
        if life.record.state.ended:
            return False
        if error is None:
            self.accept(life, peer, token, now, wall)
            return False
        self.refuse(peer, token, life.record.system_id, f"its parts did not arrive: {error}", "blobs")
        return not life.accepted and not life.spooling

    def confirm(self, life: SystemLife, peer: Hashable, token: int) -> None:
        """Tell a peer the number of a system."""
        body = [token, life.record.number, life.record.system_id, None, None]
        self._command(Send(peer, Kind.SUBMITTED, body))

    def refuse(self, peer: Hashable, token: int, system_id: str, text: str, code: str) -> None:
        """Tell a peer why there is no such system."""
        self._command(Send(peer, Kind.SUBMITTED, [token, 0, system_id, text, code]))

    def _accepted(self, life: SystemLife) -> None:
        self._tell(life)
        life.accepted = True
        if not life.record.state.ended:
            self._command(StartHost(life.record.number))

    def _tell(self, life: SystemLife) -> None:
        for peer, token in life.submitters:
            self.confirm(life, peer, token)
        life.submitters = []
