"""What a process was started for, when it was started as a slave of a job.

`slave_program` notes it in `__main__`, the script's own module: so `runJob` there knows which part it
plays. Names of ScientificPython.
"""

from __future__ import annotations

import hashlib
import sys
from typing import Any, NamedTuple

_DIGEST = "JOB_SCRIPT_DIGEST"


class Assignment(NamedTuple):
    """Which job a process works for.

    Attributes:
        label: Label of the job.
        url: Address of its master.
        config: Settings of the connection, as `Config.to_plain` gives them.
    """

    label: str
    url: str
    config: dict[str, Any]


def assign(assignment: Assignment) -> None:
    """Note what this process is for."""
    main = sys.modules["__main__"]
    vars(main).update(SLAVE_PROCESS_LABEL=assignment.label, SLAVE_MASTER=assignment.url, SLAVE_CONFIG=assignment.config)


def assigned() -> Assignment | None:
    """Return what this process is for; None when nobody started it as a slave."""
    known = vars(sys.modules["__main__"])
    if "SLAVE_PROCESS_LABEL" not in known:
        return None
    return Assignment(known["SLAVE_PROCESS_LABEL"], known.get("SLAVE_MASTER", ""), known.get("SLAVE_CONFIG", {}))


def share_script(code: str) -> None:
    """Note that all processes of the job run this script."""
    vars(sys.modules["__main__"])[_DIGEST] = hashlib.blake2b(code.encode(), digest_size=16).hexdigest()


def script_digest() -> str | None:
    """Return a name of the script that is shared; None when none is."""
    digest: str | None = vars(sys.modules["__main__"]).get(_DIGEST)
    return digest
