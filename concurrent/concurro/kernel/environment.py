"""Environment: what is offered, what is chosen, what is alive.

    built-ins ─┐
    files     ─┼─► catalog ── get(interface, name) ──► build ─► verify ─► live
    installed ─┘   (declarations)                                         (utilities)

Two `zope.interface` registries per environment and no state of the process. What is
not asked for is not imported.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from zope.interface import directlyProvides
from zope.interface.registry import Components

from concurro.config import Config
from concurro.config.core_options import CORE_TABLES
from concurro.config.options import options_of
from concurro.config.spelling import did_you_mean
from concurro.errors import (
    BrokenPluginError,
    ComponentError,
    ComponentNotFoundError,
    ConcurroError,
    ConfigError,
    DependencyCycleError,
    NotPicklableError,
)
from concurro.interfaces import ILifecycle, ITaskSystem
from concurro.kernel.components import ExtensionPoint, Selected, choices_of, dependencies_of
from concurro.kernel.construction import build
from concurro.kernel.contracts import class_faults, refuse, verify
from concurro.kernel.inventory import Inventory, keys_of_system
from concurro.kernel.kinds import KINDS
from concurro.kernel.lifecycle import Lifecycle
from concurro.kernel.offers import Declaration, Offer, OfferState

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from concurro.config import Option

I = TypeVar("I")  # noqa: E741 - an interface

_log = logging.getLogger("concurro.kernel")

_Key = tuple[type[Any], str]


class Environment:
    """The components of one node, and what they are configured with.

    Thread-safe. As a context manager it starts its components and stops them.

    Attributes:
        config: The settings in force.
        kind: `master`, `slave`, `application`, `host` or `inline`.
        plugins: Absolute paths of the files and folders that were named.
        strict: Whether a broken plugin is fatal.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | Mapping[str, object] | Config | None = None,
        *,
        kind: str = "application",
        plugins: Iterable[str | os.PathLike[str] | type[Any]] = (),
        strict_plugins: bool = False,
    ) -> None:
        """Read the settings; import only what the settings speak about.

        Args:
            config: What `Config.load` takes.
            kind: What it is the environment of.
            plugins: Files and folders with components, beside those that are found; also
                classes, for this environment alone.
            strict_plugins: Whether a broken plugin is fatal.

        Raises:
            ConfigError: A setting cannot be used, or nobody reads it.
            ComponentError: A class among the plugins cannot be a component.
            BrokenPluginError: With `strict_plugins`: something is broken.
        """
        if kind not in KINDS:
            message = f"{kind!r} is not a kind of environment{did_you_mean(kind, KINDS)}"
            raise ConfigError(message)
        self.config = Config.load(config)
        self.kind = kind
        if isinstance(plugins, str | Path):
            message = f"plugins must be a list of paths and classes, got {plugins!r}; give [{plugins!r}]"
            raise ConfigError(message)
        named = list(plugins)
        self.plugins = tuple(str(Path(path).absolute()) for path in named if not isinstance(path, type))
        self.strict = strict_plugins
        directlyProvides(self, KINDS[kind])
        self._lock = threading.RLock()
        self._inventory = Inventory(self.config, [Path(path) for path in self.plugins])
        self._live = Components("live")
        self._instances: dict[type[Any], object] = {}
        self._lifecycle = Lifecycle()
        for factory in named:
            if isinstance(factory, type):
                self._inventory.declare(factory, "")
        self.config.check(self._inventory.known_tables(self.config.tables))
        self._inventory.check_values(self.config.tables)
        if strict_plugins and self.broken:
            listed = "\n".join(f"  - {offer.factory} ({offer.source}): {offer.reason}" for offer in self.broken)
            message = f"broken plugins:\n{listed}"
            raise BrokenPluginError(message)

    # Looking up

    def get(self, interface: type[I], name: str) -> I:
        """Return the component of that interface and name, built on first use.

        Raises:
            ComponentNotFoundError: No enabled component of that name; names those that exist.
            BrokenPluginError: It did not import.
            ContractError: It does not keep its contract; lists all faults.
            DuplicateComponentError: There are two of them.
            DependencyCycleError: It needs itself, through what it selects.
            ConfigError: One of its options is wrong.
        """
        with self._lock:
            component: I = self._get(interface, name, ())
            return component

    def get_all(self, interface: type[I]) -> tuple[I, ...]:
        """Return all components of an interface; broken ones are logged."""
        with self._lock:
            return tuple(self._get_all(interface, ()))

    def selected(self, interface: type[I], option_key: str, default: str | None = None) -> I:
        """Return the component that an option names.

        Args:
            interface: What it must provide.
            option_key: `table.key`, e.g. `master.strategy`.
            default: The name when nothing is set; None for the option's own default.

        Raises:
            ComponentError: As `get`; the message also names the option and its origin.
        """
        with self._lock:
            component: I = self._selected(interface, option_key, default, ())
            return component

    def names(self, interface: type[Any]) -> list[str]:
        """Return the names of an interface's components that are offered here."""
        with self._lock:
            self._inventory.complete()
            return [declaration.name for declaration in self._inventory.catalog.find_all(self, interface)]

    def declare(self, factory: type[Any], source: str = "") -> None:
        """Offer a class in this environment alone.

        If the settings have a table for it, name it among the `plugins` of the constructor
        instead: tables that nobody reads are refused there.

        Raises:
            ComponentError: It has no usable name or no interface.
            DuplicateComponentError: There is one of the same interface and name.
        """
        with self._lock:
            self._inventory.declare(factory, source)

    def factory(self, interface: type[Any], name: str) -> type[Any]:
        """Return the class of a component, without building one.

        Raises:
            ComponentNotFoundError: No enabled component of that name; names those that exist.
            BrokenPluginError: It did not import.
        """
        with self._lock:
            return self._declaration(interface, name).load()

    # Task systems

    def task_system(self, name: str) -> type[Any]:
        """Return the class of the task system of that name.

        Raises:
            ComponentNotFoundError: There is none; names those that exist.
            BrokenPluginError: It did not import.
            ContractError: It does not keep the contract of ITaskSystem.
        """
        factory = self.factory(ITaskSystem, name)
        refuse(ITaskSystem, factory, class_faults(ITaskSystem, factory))
        return factory

    def system_defaults(self, name: str) -> dict[str, object]:
        """Return what the table `[name]` gives for a system's constructor.

        Raises:
            ConfigError: The table has a key that is no parameter.
        """
        factory = self.task_system(name)
        self.config.check({**dict.fromkeys(self.config.tables), name: keys_of_system(factory)})
        return self.config.table(name)

    # Listing

    def offers(self, interface: type[Any] | None = None) -> list[Offer]:
        """Return everything that is offered, imported and checked as a class.

        Disabled components are listed too, but not imported.
        """
        with self._lock:
            self._inventory.complete()
            listed = [self._checked(declaration) for declaration in self._inventory.catalog]
            listed += self._inventory.disabled
            listed += [refusal.offer for refusal in self._inventory.refusals]
        if interface is not None:
            listed = [offer for offer in listed if offer.interface in (interface, None)]
        return sorted(listed, key=lambda offer: (offer.interface_name, offer.name, offer.factory))

    @property
    def broken(self) -> tuple[Offer, ...]:
        """What is offered and cannot be used, with the reasons."""
        return tuple(offer for offer in self.offers() if offer.state is OfferState.BROKEN)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd: rules of `[components]` that match nothing."""
        with self._lock:
            return self._inventory.complete()

    def option_tables(self) -> dict[str, dict[str, Option[Any]]]:
        """Return the options of all enabled components, by table and key."""
        with self._lock:
            self._inventory.complete()
            tables: dict[str, dict[str, Option[Any]]] = {}
            for declaration in sorted(self._inventory.catalog, key=lambda declaration: declaration.name):
                try:
                    factory = declaration.load()
                except BrokenPluginError:
                    continue
                if options := options_of(factory):
                    tables.setdefault(declaration.name, {}).update(options)
                for table, choice in choices_of(factory):
                    if table not in CORE_TABLES:
                        tables.setdefault(table, {})[choice.name] = choice
            return tables

    # Lifecycle

    def start(self) -> None:
        """Start the components that are alive, what they select first.

        One that is built later is started when it is built.

        Raises:
            Exception: What a component raised; those that had started are stopped again.
        """
        with self._lock:
            self._lifecycle.start()

    def stop(self) -> None:
        """Stop in reverse order. Idempotent.

        Raises:
            ComponentError: After all were stopped, if some raised; an ExceptionGroup is its cause.
        """
        with self._lock:
            self._lifecycle.stop()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def __reduce__(self) -> NoReturn:
        """Refuse to travel."""
        message = "an Environment never travels; build one from config.to_plain() where it is needed"
        raise NotPicklableError(message, culprit="Environment")

    # Inside; the lock is held

    def _declaration(self, interface: type[Any], name: str) -> Declaration:
        found = self._inventory.find(self, interface, name)
        if found is None:
            self._raise_not_found(interface, name)
        return found

    def _get(self, interface: type[Any], name: str, path: tuple[_Key, ...]) -> Any:
        component = self._live.queryUtility(interface, name)
        if component is not None:
            return component
        if interface is ITaskSystem:
            message = f"task system {name!r} is constructed by its application: use task_system({name!r})"
            raise ComponentError(message)
        if (interface, name) in path:
            circle = [*path[path.index((interface, name)) :], (interface, name)]
            message = f"components need one another in a circle: {' -> '.join(step for _, step in circle)}"
            raise DependencyCycleError(message)
        declaration = self._declaration(interface, name)
        factory = declaration.load()
        component = self._instances.get(factory)
        if component is None:
            path = (*path, (interface, name))
            for dependency in dependencies_of(factory):
                # What is selected is built, and started, before whom it serves.
                if isinstance(dependency, Selected):
                    self._selected(dependency.interface, dependency.option_key, dependency.default, path)
                elif isinstance(dependency, ExtensionPoint):
                    self._get_all(dependency.interface, path)
            component = self._build(declaration, factory)
        else:
            verify(interface, component)
        self._live.registerUtility(component, interface, name, declaration.source, event=False)
        return component

    def _build(self, declaration: Declaration, factory: type[Any]) -> object:
        faults = class_faults(declaration.interface, factory)
        try:
            component = build(factory, self)
        except ConcurroError:
            refuse(declaration.interface, factory, faults)
            raise
        except Exception as error:
            refuse(declaration.interface, factory, faults)
            message = (
                f"component {declaration.name!r} ({declaration.factory}, {declaration.source}) "
                f"could not be built: {type(error).__name__}: {error}"
            )
            raise ComponentError(message) from error
        verify(declaration.interface, component)
        if ILifecycle.providedBy(component):
            verify(ILifecycle, component)
        self._lifecycle.add(component)
        self._instances[factory] = component
        return component

    def _get_all(self, interface: type[Any], path: tuple[_Key, ...]) -> list[Any]:
        self._inventory.complete()
        components = []
        for declaration in self._inventory.catalog.find_all(self, interface):
            try:
                components.append(self._get(interface, declaration.name, path))
            except DependencyCycleError:
                raise
            except ComponentError as error:
                if self.strict:
                    raise
                _log.warning("%s %r is left out: %s", interface.__name__, declaration.name, error)
        return components

    def _selected(self, interface: type[Any], option_key: str, default: str | None, path: tuple[_Key, ...]) -> Any:
        origin = self.config.origin(option_key)
        name = default if origin == "default" and default is not None else self.config[option_key]
        try:
            return self._get(interface, name, path)
        except DependencyCycleError:
            raise
        except ComponentError as error:
            if origin == "default":
                raise
            error.add_note(f"selected by {option_key} = {name!r} ({origin})")
            if isinstance(error, ComponentNotFoundError):
                message = f"{origin}: {option_key} = {name!r}: {error}"
                raise ComponentNotFoundError(message) from None
            raise

    def _checked(self, declaration: Declaration) -> Offer:
        try:
            factory = declaration.load()
        except BrokenPluginError as error:
            return declaration.offer(OfferState.BROKEN, str(error), (str(error),))
        faults = class_faults(declaration.interface, factory)
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            return declaration.offer(OfferState.BROKEN, faults[0] + more, tuple(faults))
        return declaration.offer(OfferState.ENABLED)

    def _raise_not_found(self, interface: type[Any], name: str) -> NoReturn:
        title = interface.__name__
        for refusal in self._inventory.refusals:
            if refusal.mentions(name) and refusal.offer.interface in (interface, None):
                if isinstance(refusal.error, ComponentError):
                    raise refusal.error
                message = f"{title} {name!r}: {refusal.offer.source} {refusal.offer.reason}"
                raise BrokenPluginError(message) from refusal.error
        existing = self.names(interface)
        message = f"no {title} is called {name!r}{did_you_mean(name, existing)}"
        if existing and "there are" not in message:
            message += f" There are {', '.join(existing)}"
        for offer in self._inventory.disabled:
            if offer.name == name and offer.interface in (interface, None):
                message = f"{title} {name!r} ({offer.factory}, {offer.source}) is disabled: {offer.reason}"
        for declaration in self._inventory.catalog.elsewhere(interface, name):
            kinds = ", ".join(declaration.kinds)
            message = f"{title} {name!r} ({declaration.factory}) is offered on {kinds} only, not on {self.kind}"
        raise ComponentNotFoundError(message)
