"""Offers: what is there to choose from, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class OfferState(Enum):
    """Whether an offer may be used."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Offer:
    """A component as it is listed.

    Attributes:
        interface: What it implements; None when that is not known, for it did not load.
        name: How a file names it; for a file that did not load the file's name.
        factory: `module.Class`, what the globs of `[components]` match.
        source: `built-in`, the distribution with its version, or a file with line.
        state: Whether it may be used.
        reason: Why it is disabled or broken; empty when enabled.
        faults: What is broken, one line each, with file and line where that is known.
    """

    interface: type[Any] | None
    name: str
    factory: str
    source: str
    state: OfferState
    reason: str = ""
    faults: tuple[str, ...] = ()

    @property
    def interface_name(self) -> str:
        """Name of the interface; `?` when that is not known."""
        return self.interface.__name__ if self.interface is not None else "?"


@dataclass(frozen=True, slots=True, eq=False)
class Declaration:
    """A component as the catalog holds it: found, perhaps not yet imported.

    Attributes:
        interface: What it implements.
        name: How a file names it.
        factory: `module.Class`.
        source: Where it was found.
        load: Returns the class, importing it if need be.
        kinds: Kinds of environment that may use it; empty for all.
    """

    interface: type[Any]
    name: str
    factory: str
    source: str
    load: Callable[[], type[Any]]
    kinds: tuple[str, ...] = ()

    def offer(self, state: OfferState, reason: str = "", faults: tuple[str, ...] = ()) -> Offer:
        """Return it as it is listed."""
        return Offer(self.interface, self.name, self.factory, self.source, state, reason, faults)


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """An offer that cannot be used, with what went wrong.

    Attributes:
        offer: It, as listed.
        error: What went wrong.
        text: Source of the file that did not load; tells which names it would have offered.
    """

    offer: Offer
    error: BaseException
    text: str = field(default="", repr=False)

    def mentions(self, name: str) -> bool:
        """Return whether this may be what somebody calls by that name."""
        return self.offer.name == name or f'"{name}"' in self.text or f"'{name}'" in self.text
