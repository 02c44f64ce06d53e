"""Notes of jobs with a master of their own: how slaves find it.

LocalCluster's private folder:  master (its socket)   tagged-job.json <-- label, process of the job
The folder is its user's alone, and goes with the master, however that ends; so does the note.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

NOTE = "tagged-job.json"
_SCHEME = "ipc://"
_ANSWER_LIMIT = 1.0
_ROOM = 60


class JobNote(NamedTuple):
    """A job that runs on this machine with a master of its own.

    Attributes:
        label: Its label.
        url: Address of its master.
        pid: Process of its `MasterProcess`.
    """

    label: str
    url: str
    pid: int


def write_note(label: str, url: str) -> None:
    """Let slaves of this user on this machine find the job's master.

    Args:
        label: Label of the job.
        url: Address of a master that listens in a folder of its own.
    """
    folder = Path(url.removeprefix(_SCHEME)).parent
    draft = folder / f"{NOTE}.draft"
    draft.write_text(json.dumps([label, url, os.getpid()]), encoding="utf-8")
    draft.rename(folder / NOTE)


def is_noted(url: str) -> bool:
    """Say whether a master was started for one job alone."""
    return url.startswith(_SCHEME) and Path(url.removeprefix(_SCHEME)).with_name(NOTE).exists()


def find_note(label: str) -> JobNote | None:
    """Return the note of a job that runs; None when there is none."""
    return next((note for note in list_notes() if note.label == label), None)


def list_notes() -> list[JobNote]:
    """Return the notes of this user's jobs that run on this machine."""
    found = []
    for place in _places():
        for file in sorted(place.glob(f"*/{NOTE}")):
            note = _read(file)
            if note is not None and _listens(note.url):
                found.append(note)
    return found


def _places() -> list[Path]:
    """Return where private folders of local clusters may be."""
    named = [os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()]
    if len(named[-1]) > _ROOM:  # no socket has room there
        named.append("/tmp")  # noqa: S108 - looked at only
    return [Path(place) for place in dict.fromkeys(named) if place]


def _read(file: Path) -> JobNote | None:
    """Return what a note says, if nobody else can have written it."""
    with contextlib.suppress(OSError, ValueError, TypeError):  # gone meanwhile, or none of ours
        folder = file.parent.stat()
        if folder.st_uid != os.geteuid() or stat.S_IMODE(folder.st_mode) & 0o077:
            return None
        label, url, pid = json.loads(file.read_text(encoding="utf-8"))
        return JobNote(str(label), str(url), int(pid))
    return None


def _listens(url: str) -> bool:
    """Say whether the master is there: what was killed may leave its folder."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_LIMIT)
        try:
            probe.connect(url.removeprefix(_SCHEME))
        except OSError:
            return False
    return True
