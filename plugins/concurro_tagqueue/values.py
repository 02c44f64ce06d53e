"""Values on their way: classes of scripts become those of the taker.

    value --> plain                            nothing in it but what is installed: as it is
          --> by name, and by value behind it  the class is imported where that is possible, else rebuilt

A slave that imports `shapes.py` itself wants an instance of its own `shapes.Point`, and the processes of a job in one
script want their own `__main__.Point`. Who cannot import it, on another machine say, gets one that travelled.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import msgpack

from concurro_tagqueue.assignment import script_digest

if TYPE_CHECKING:
    from concurro import ApplicationNode

_NAMED = b"N"  # no pickle begins so, and nothing that an application packs
_MAIN = b"__main__"


def dump_value(application: ApplicationNode, value: Any) -> bytes:
    """Return a value as bytes that hold all of it.

    Raises:
        NotPicklableError: It cannot travel; names the culprit.
    """
    whole = application.dumps(value)
    if not application.carries_code(whole):
        return whole
    try:
        named = pickle.dumps(value, 5)
    except Exception:  # noqa: BLE001 - what has no name, or whatever a user's `__reduce__` raises
        return whole
    script = script_digest() if _MAIN in named else ""
    if script is None:
        return whole  # its `__main__` is nobody else's
    packed: bytes = msgpack.packb([script, named, whole])
    return _NAMED + packed


def load_value(application: ApplicationNode, packed: bytes) -> Any:
    """Return the value that `dump_value` packed, another copy each time.

    Loading runs code of users: it may raise anything.
    """
    if packed[:1] != _NAMED:
        return application.loads(packed)
    script, named, whole = msgpack.unpackb(packed[1:])
    if script in ("", script_digest()):
        try:
            return pickle.loads(named)
        except (ImportError, AttributeError):
            pass  # not here
    return application.loads(whole)
