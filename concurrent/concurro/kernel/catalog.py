"""Hold what is offered: a named adapter from a kind of environment each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import providedBy
from zope.interface.registry import Components

from concurro.errors import DuplicateComponentError
from concurro.kernel.kinds import KINDS, IEnvironment

if TYPE_CHECKING:
    from concurro.kernel.offers import Declaration


class Catalog:
    """What is offered. Nothing is instantiated here.

    Guarded by its environment's lock.
    """

    def __init__(self) -> None:
        self._components: Any = Components("catalog")  # the stubs lack its `adapters`
        self._declarations: dict[tuple[type[Any], str], list[Declaration]] = {}

    def add(self, declaration: Declaration) -> None:
        """Take a declaration.

        Raises:
            DuplicateComponentError: There is one of the same interface and name for the same
                kind of environment; the message names both sources.
        """
        same = self._declarations.setdefault((declaration.interface, declaration.name), [])
        for other in same:
            # The registry would silently replace the older one.
            if not other.kinds or not declaration.kinds or set(other.kinds) & set(declaration.kinds):
                message = (
                    f"two components of {declaration.interface.__name__} are called {declaration.name!r}: "
                    f"{other.factory} ({other.source}) and {declaration.factory} ({declaration.source}); "
                    "rename one, or switch one off in [components]"
                )
                raise DuplicateComponentError(message)
        same.append(declaration)
        for required in [KINDS[kind] for kind in declaration.kinds] or [IEnvironment]:
            self._components.registerAdapter(
                declaration, (required,), declaration.interface, declaration.name, declaration.source, event=False
            )

    def find(self, environment: object, interface: type[Any], name: str) -> Declaration | None:
        """Return the declaration of that name for an environment, or None."""
        found: Declaration | None = self._components.adapters.lookup1(providedBy(environment), interface, name)
        return found

    def find_all(self, environment: object, interface: type[Any]) -> list[Declaration]:
        """Return the declarations of an interface for an environment, by name."""
        found = self._components.adapters.lookupAll((providedBy(environment),), interface)
        return [declaration for _, declaration in sorted(found, key=lambda pair: str(pair[0]))]

    def elsewhere(self, interface: type[Any], name: str) -> list[Declaration]:
        """Return the declarations of that name, for whatever environment."""
        return list(self._declarations.get((interface, name), ()))

    def __iter__(self) -> Any:
        """Iterate over every declaration, in order of declaration."""
        return (declaration for same in self._declarations.values() for declaration in same)
