"""What leases need before they can run: their class, and blobs.

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from concurro.execution.slave_records import Command, Entry, Fetch, Release, TaskCode

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


class Supplies:
    """The classes of tasks that are known, and leases that wait for bytes.

    Attributes:
        codes: Classes by (system, class).
        waiting: Lease to its entry and to the owners of blobs that are missing.
    """

    def __init__(self) -> None:
        self.codes: dict[tuple[int, int], TaskCode] = {}
        self.waiting: dict[int, tuple[Entry, set[Hashable]]] = {}

    def announce(self, announcements: Iterable[list[Any]], *, with_devices: bool) -> list[Command]:
        """Learn of classes; return what is to be fetched for them.

        Args:
            announcements: Entries of CLASSES.
            with_devices: Whether there are devices here.
        """
        needed: list[Command] = []
        for announcement in announcements:
            code = TaskCode(announcement)
            known = self.codes.get(code.key)
            if known is not None and known.announcement == code.announcement:
                known.generation = code.generation
                continue
            if not with_devices:
                code.devices = 0.0
            self.codes[code.key] = code
            if not code.here:
                needed.append(Fetch(("class", *code.key), code.announcement[4]))
        return needed

    def fetch(self, entry: Entry, code: TaskCode) -> list[Command]:
        """Let a lease wait; return what is to be fetched for it."""
        missing: set[Hashable] = set()
        needed: list[Command] = []
        if not code.here:
            missing.add(("class", *code.key))
        if entry[6]:
            missing.add(("lease", entry[0]))
            needed.append(Fetch(("lease", entry[0]), entry[6]))
        self.waiting[entry[0]] = (entry, missing)
        return needed

    def fetched(self, owner: Hashable, fault: str | None) -> list[Entry]:
        """Take the end of a `Fetch`; return the leases that wait no more.

        With a fault they can never run.
        """
        if isinstance(owner, tuple) and owner[0] == "class":
            code = self.codes.get((owner[1], owner[2]))
            if code is not None:
                code.here, code.fault = fault is None, fault or ""
            concerned = [lease for lease, (_, missing) in self.waiting.items() if owner in missing]
        else:
            concerned = [owner[1]] if isinstance(owner, tuple) and owner[1] in self.waiting else []
        ended = []
        for lease in concerned:
            entry, missing = self.waiting[lease]
            missing.discard(owner)
            if fault is not None or not missing:
                del self.waiting[lease]
                ended.append(entry)
        return ended

    def drop_missing(self) -> None:
        """Forget the classes whose bytes are not here."""
        self.codes = {key: code for key, code in self.codes.items() if code.here}

    def of_system(self, system: int) -> set[int]:
        """Return the waiting leases of a system."""
        return {lease for lease, (entry, _) in self.waiting.items() if entry[1] == system}

    def forget(self, system: int) -> list[Command]:
        """Forget the classes of a system; return what is to be released."""
        ended = [self.codes.pop(key) for key in [key for key in self.codes if key[0] == system]]
        return [Release(("class", *code.key)) for code in ended if code.announcement[4]]
