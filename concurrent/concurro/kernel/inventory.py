"""Inventory: what was found, sorted into usable, disabled and refused.

Places are visited when something needs them: built-ins at once (a table of names),
files at the first look-up, installed distributions when a name is not found otherwise,
when `[components]` has rules, or when everything is listed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from concurro.config.core_options import CORE_TABLES
from concurro.config.options import options_of
from concurro.errors import BrokenPluginError, DuplicateComponentError
from concurro.interfaces import ITaskSystem
from concurro.kernel.catalog import Catalog
from concurro.kernel.components import Selected, dependencies_of
from concurro.kernel.construction import constructor_parameters
from concurro.kernel.contracts import place_of
from concurro.kernel.discovery import (
    Found,
    InstalledOffer,
    built_in_declarations,
    declarations_of,
    installed_offers,
    load_file,
    load_installed,
    plugin_files,
)
from concurro.kernel.offers import Declaration, Offer, OfferState, Refusal
from concurro.kernel.rules import deciding_rule, idle_rules, read_rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from concurro.config import Config

_log = logging.getLogger("concurro.kernel")


class Inventory:
    """What an environment may choose from. Guarded by the environment's lock.

    Attributes:
        catalog: Declarations that are enabled.
        disabled: What `[components]` or the default switches off.
        refusals: What cannot be used.
    """

    def __init__(self, config: Config, paths: Iterable[Path]) -> None:
        self.catalog = Catalog()
        self.disabled: list[Offer] = []
        self.refusals: list[Refusal] = []
        self._config = config
        self._rules = read_rules(config)
        self._files: list[Path] | None = plugin_files(paths, config.plugin_folders)
        self._installed: list[InstalledOffer] | None = None
        self._factories: list[str] = []
        self._warnings: tuple[str, ...] | None = None
        for declaration in built_in_declarations():
            self._take(declaration)

    def find(self, environment: object, interface: type[Any], name: str) -> Declaration | None:
        """Return the declaration of that name for an environment, or None.

        Raises:
            DuplicateComponentError: There are two.
        """
        self._load_files()
        if self._rules:
            self._load_installed(name)
        found = self.catalog.find(environment, interface, name)
        if found is None:
            self._load_installed(name)
            found = self.catalog.find(environment, interface, name)
        for refusal in self.refusals:
            duplicate = isinstance(refusal.error, DuplicateComponentError)
            if duplicate and (refusal.offer.interface, refusal.offer.name) == (interface, name):
                raise refusal.error
        return found

    def complete(self) -> tuple[str, ...]:
        """Visit every place; return warnings about rules that match nothing."""
        self._load_files()
        self._load_installed(None)
        if self._warnings is None:
            self._warnings = tuple(idle_rules(self._rules, self._factories))
            for warning in self._warnings:
                _log.warning("%s", warning)
        return self._warnings

    def declare(self, factory: type[Any], source: str) -> None:
        """Take a class that a program offers.

        Raises:
            ComponentError: It has no usable name or no interface.
            DuplicateComponentError: There is one of the same interface and name.
        """
        self._load_files()
        for declaration in declarations_of(factory, source or place_of(factory)):
            self.catalog.add(declaration)

    def known_tables(self, tables: Iterable[str]) -> dict[str, Collection[str] | None]:
        """Return the keys that components read, by table.

        Those of other tables than the given ones are None.


        Imports only the components that are named as one of the tables.
        """
        wanted = [table for table in tables if table not in CORE_TABLES]
        if not wanted:
            return {}
        self._load_files()
        for table in wanted:
            self._load_installed(table)
        known: dict[str, set[str] | None] = {installed.name: None for installed in self._installed or ()}
        known.update({offer.name: None for offer in self.disabled})
        keys: dict[str, set[str] | None] = {}
        for declaration in self.catalog:
            known.setdefault(declaration.name, None)
            if declaration.name in wanted:
                for table, read in _keys_read(declaration).items():
                    already = keys.get(table, set())
                    keys[table] = None if read is None or already is None else already | read
        for table in wanted:
            if any(refusal.mentions(table) for refusal in self.refusals):
                keys[table] = None
        return {**known, **keys}

    def check_values(self, tables: Iterable[str]) -> None:
        """Refuse wrong values of options, in those tables, that components read.

        Once `known_tables` has imported those.

        Raises:
            ConfigError: With file and line.
        """
        for declaration in self.catalog:
            if declaration.name not in tables or declaration.interface is ITaskSystem:
                continue
            try:
                options = options_of(declaration.load())
            except BrokenPluginError:
                continue
            for key in options.keys() & self._config.table(declaration.name).keys():
                self._config.value(declaration.name, options[key])

    def _take(self, declaration: Declaration, *, default: bool = True) -> None:
        self._factories.append(declaration.factory)
        reason = self._reason_against(declaration.factory, default=default)
        if reason:
            self.disabled.append(declaration.offer(OfferState.DISABLED, reason))
            return
        try:
            self.catalog.add(declaration)
        except DuplicateComponentError as error:
            self._refuse(Refusal(declaration.offer(OfferState.BROKEN, str(error), (str(error),)), error))

    def _reason_against(self, factory: str, *, default: bool) -> str:
        rule = deciding_rule(self._rules, factory)
        if rule is not None:
            return "" if rule.enabled else f"switched off by {rule}"
        if default:
            return ""
        return f'plugins of other distributions are off; switch on with [components] "{factory}" = true'

    def _refuse(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)
        _log.warning("%s (%s): %s", refusal.offer.name, refusal.offer.source, refusal.offer.reason)

    def _take_found(self, found: Found, *, default: bool = True) -> None:
        for declaration in found.declarations:
            self._take(declaration, default=default)
        for refusal in found.refusals:
            self._factories.append(refusal.offer.factory)
            rule = deciding_rule(self._rules, refusal.offer.factory)
            if rule is None or rule.enabled:
                self._refuse(refusal)

    def _load_files(self) -> None:
        files, self._files = self._files, None
        for file in files or ():
            self._take_found(load_file(file))

    def _load_installed(self, name: str | None) -> None:
        """Import the enabled entry points of that name, or all.

        Disabled ones are only noted.
        """
        if self._installed is None:
            self._installed = []
            for installed in installed_offers():
                self._factories.append(installed.factory)
                reason = self._reason_against(installed.factory, default=installed.is_own)
                if reason:
                    offer = Offer(
                        None, installed.name, installed.factory, installed.source, OfferState.DISABLED, reason
                    )
                    self.disabled.append(offer)
                else:
                    self._installed.append(installed)
        wanted = [installed for installed in self._installed if name in (None, installed.name)]
        for installed in wanted:
            self._installed.remove(installed)
            self._take_found(load_installed(installed), default=True)


def _keys_read(declaration: Declaration) -> dict[str, set[str] | None]:
    """Return the keys by table that a component reads; None for any key."""
    try:
        factory = declaration.load()
    except BrokenPluginError:
        return {declaration.name: None}
    if declaration.interface is ITaskSystem:
        return {declaration.name: keys_of_system(factory)}
    keys: dict[str, set[str] | None] = {declaration.name: set(options_of(factory))}
    for dependency in dependencies_of(factory):
        if isinstance(dependency, Selected):
            table, _, key = dependency.option_key.partition(".")
            keys.setdefault(table, set())
            keys[table] = (keys[table] or set()) | {key}
    return keys


def keys_of_system(factory: type[Any]) -> set[str] | None:
    """Return a task system's parameters; None when any name will do."""
    parameters = constructor_parameters(factory)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
