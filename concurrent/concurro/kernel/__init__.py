"""Find components, check them, and hand them out by interface and name.

The names are imported when they are first asked for: a worker needs the declarations of
classes from here and nothing else, and it should start in milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.kernel.components import Component, ExtensionPoint, Selected
    from concurro.kernel.environment import Environment
    from concurro.kernel.offers import Offer, OfferState

_LATER = {
    "Component": "components",
    "Environment": "environment",
    "ExtensionPoint": "components",
    "Offer": "offers",
    "OfferState": "offers",
    "Selected": "components",
}

__all__ = ["Component", "Environment", "ExtensionPoint", "Offer", "OfferState", "Selected"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return value
