"""What classes and interfaces say of one another, so that it can travel.

A class that was decorated with `@implementer` carries descriptors that do not survive a
pickle by value. It travels without them, with its interfaces beside it, and declares them
again where it arrives.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from zope.interface import Interface, classImplements, implementedBy
from zope.interface.exceptions import Invalid
from zope.interface.interface import InterfaceClass
from zope.interface.verify import verifyClass

from concurro.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Sequence

DECLARATION_ATTRIBUTES = frozenset({"__implemented__", "__provides__", "__providedBy__"})
"""Names in a class's dictionary that must stay behind when it travels by value."""


def is_interface(value: object) -> bool:
    """Say whether `value` is an interface."""
    return isinstance(value, InterfaceClass)


def declared_interfaces(cls: type) -> tuple[Any, ...]:
    """Return the interfaces that `cls` itself declares, its bases' left out."""
    if "__implemented__" not in cls.__dict__:
        return ()
    return tuple(implementedBy(cls).declared)  # type: ignore[no-untyped-call]


def declare(cls: type, interfaces: Sequence[Any]) -> None:
    """Declare on an arrived class what it declared at home, and verify it.

    Raises:
        ContractError: The class does not keep one of the interfaces.
    """
    for interface in interfaces:
        classImplements(cls, interface)  # type: ignore[misc]  # the plugin wants a class by name
    faults = [fault for interface in interfaces for fault in _faults(cls, interface)]
    if faults:
        message = f"{cls.__module__}.{cls.__qualname__} does not keep what it declares"
        raise ContractError(message, faults)


def interface_parts(interface: Any) -> tuple[str, str, str, tuple[Any, ...], dict[str, Any]]:
    """Take an interface apart: name, module, docstring, bases, attributes."""
    own = {name: copy.copy(interface.direct(name)) for name in interface.names(all=False)}
    for attribute in own.values():
        attribute.interface = None  # set again when it is built; until then it would be a circle
    return interface.__name__, interface.__module__, interface.__doc__, interface.__bases__, own


def build_interface(name: str, module: str, doc: str, bases: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    """Put an interface together again from its parts."""
    return InterfaceClass(name, bases or (Interface,), attributes, doc, module)


def _faults(cls: type, interface: Any) -> list[str]:
    try:
        verifyClass(interface, cls)
    except Invalid as error:
        # MultipleInvalid carries one exception per fault.
        return [str(fault).strip() for fault in getattr(error, "exceptions", (error,))]
    return []
