"""Check a component against its interface: all faults, with places."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from zope.interface import Invalid
from zope.interface.exceptions import MultipleInvalid  # type: ignore[attr-defined]  # not in the stubs
from zope.interface.interface import Method
from zope.interface.verify import verifyObject

from concurro.errors import ContractError
from concurro.kernel.signatures import declared_shape, signature_faults

if TYPE_CHECKING:
    from collections.abc import Iterator


def place_of(thing: Any) -> str:
    """Return `file:line` of a class or function, else its module."""
    if inspect.isfunction(function := inspect.unwrap(getattr(thing, "__func__", thing))):
        return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    try:
        _, line = inspect.getsourcelines(thing)
        return f"{inspect.getsourcefile(thing)}:{line}"
    except (TypeError, OSError):
        return str(getattr(thing, "__module__", type(thing).__module__))


def class_faults(interface: type[Any], factory: type[Any]) -> list[str]:
    """Return what is wrong with a class, without building one.

    Attributes are not looked at: a constructor may set them.
    """
    faults = []
    if not interface.implementedBy(factory):
        faults.append(
            f"{place_of(factory)}: {factory.__name__} does not declare {interface.__name__}; "
            f"decorate it with @implementer({interface.__name__})"
        )
    for name, method in _methods(interface):
        static = inspect.getattr_static(factory, name, None)
        is_bound = isinstance(static, classmethod | staticmethod)
        attribute = getattr(factory, name, None)
        faults += _method_faults(interface, factory, method, attribute, drop_first=not is_bound)
    return faults


def object_faults(interface: type[Any], component: object) -> list[str]:
    """Return what is wrong with a built component.

    Its declaration, its methods, its attributes, the interface's invariants.
    """
    factory = type(component)
    faults = []
    told = set()
    for name, method in _methods(interface):
        found = _method_faults(interface, factory, method, getattr(component, name, None), drop_first=False)
        if found:
            told.add(name)
            faults += found
    for problem in _problems_seen_by_zope(interface, component):
        # A problem of zope about a method repeats what was said better above.
        element = getattr(problem, "method", None) or getattr(problem, "name", None)
        if getattr(element, "__name__", element) not in told:
            faults.append(f"{place_of(factory)}: {_in_one_line(problem)}")
    broken: list[Invalid] = []
    try:
        interface.validateInvariants(component, broken)
    except Invalid:
        faults += [f"{place_of(factory)}: an invariant does not hold: {_in_one_line(error)}" for error in broken]
    return faults


def verify(interface: type[Any], component: object) -> None:
    """Refuse a component that does not keep its contract.

    Raises:
        ContractError: With every fault.
    """
    refuse(interface, type(component), object_faults(interface, component))


def refuse(interface: type[Any], factory: type[Any], faults: list[str]) -> None:
    """Raise if there are faults.

    Raises:
        ContractError: With every fault.
    """
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        message = f"{factory.__name__} does not keep the contract of {interface.__name__}, {count}:"
        raise ContractError(message, faults)


def _methods(interface: type[Any]) -> Iterator[tuple[str, Method]]:
    described = interface.namesAndDescriptions(all=True)
    return ((name, element) for name, element in sorted(described) if isinstance(element, Method))


def _method_faults(
    interface: type[Any], factory: type[Any], method: Method, attribute: Any, *, drop_first: bool
) -> list[str]:
    shape = declared_shape(method)
    call = f"{factory.__name__}.{method.__name__}"
    if attribute is None:
        return [f"{place_of(factory)}: {call}{shape} of {interface.__name__} is missing"]
    if not callable(attribute):
        return [f"{place_of(factory)}: {call} is not a method; {interface.__name__} has {method.__name__}{shape}"]
    place = place_of(attribute)
    return [
        f"{place}: {call}: {fault}; {interface.__name__} has {method.__name__}{shape}"
        for fault in signature_faults(shape, attribute, drop_first=drop_first)
    ]


def _problems_seen_by_zope(interface: type[Any], component: object) -> list[Invalid]:
    try:
        verifyObject(interface, component)
    except MultipleInvalid as several:
        return list(several.exceptions)
    except Invalid as one:
        return [one]
    return []


def _in_one_line(problem: Invalid) -> str:
    return " ".join(str(problem).split())
