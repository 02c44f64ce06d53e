"""While code of a job is imported, no cluster may be opened.

A file that opens a cluster at its top level would open another one in every process that
imports it, and so on without end.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from concurro.errors import NodeStartError

if TYPE_CHECKING:
    from collections.abc import Iterator

_imported: ContextVar[str] = ContextVar("concurro_imported", default="")


@contextlib.contextmanager
def importing(what: str) -> Iterator[None]:
    """Refuse clusters while `what` is imported, in this thread."""
    token = _imported.set(what)
    try:
        yield
    finally:
        _imported.reset(token)


def refuse_while_importing(opened: str) -> None:
    """Refuse to open something while code of a job is imported.

    Raises:
        NodeStartError: It is; says what to write instead.
    """
    what = _imported.get()
    if what:
        message = (
            f"{opened} cannot be opened while {what} is imported: every process that imports it would open another; "
            f"put that part of the file below: if __name__ == '__main__':"
        )
        raise NodeStartError(message)
