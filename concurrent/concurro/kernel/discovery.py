"""Find components: built in, in files, in installed distributions.

Nothing is registered by being imported: what is found is returned.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementedBy

from concurro.config.core_options import CORE_TABLES
from concurro.errors import BrokenPluginError, ComponentError, ConfigError
from concurro.interfaces import ILifecycle
from concurro.kernel.builtins import BUILT_INS, BuiltIn
from concurro.kernel.components import Component
from concurro.kernel.contracts import place_of
from concurro.kernel.declarations import declared_interfaces
from concurro.kernel.kinds import KINDS
from concurro.kernel.offers import Declaration, Offer, OfferState, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import EntryPoint
    from pathlib import Path
    from types import ModuleType

ENTRY_POINT_GROUP: Final = "concurro.components"
OWN_DISTRIBUTION: Final = "concurro"

# Modules loaded from files have names of their own: a file queue.py hides no module. Their
# classes travel by value, for no other process finds them under that name.
FILE_PLUGIN_PREFIX: Final = "concurro_file_plugin_"

_KEBAB_CASE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a place offers.

    Attributes:
        declarations: Components that may be registered.
        refusals: What cannot be used, and why.
    """

    declarations: tuple[Declaration, ...] = ()
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class InstalledOffer:
    """An entry point, not imported.

    Attributes:
        name: The component's name.
        factory: `module.Class`.
        source: The distribution with its version, e.g. `tidal-plugins 1.2`.
        is_own: Whether it belongs to this distribution.
        entry_point: It.
    """

    name: str
    factory: str
    source: str
    is_own: bool
    entry_point: EntryPoint


def built_in_declarations() -> list[Declaration]:
    """Return the built-in components; each is imported when it is used."""
    return [
        Declaration(
            built_in.interface,
            built_in.name,
            built_in.location.replace(":", "."),
            "built-in",
            _importer(built_in),
            built_in.kinds,
        )
        for built_in in BUILT_INS
    ]


def declarations_of(factory: Any, source: str, factory_name: str = "") -> tuple[Declaration, ...]:
    """Return the declarations of a class, one per interface.

    Args:
        factory: The class.
        source: Where it was found.
        factory_name: `module.Class` if it is not what the class says of itself.

    Raises:
        ComponentError: It cannot be a component; the message names the reason and the place.
    """
    if not isinstance(factory, type):
        message = f"{source}: {factory!r} is not a class"
        raise ComponentError(message)
    name = getattr(factory, "name", None)
    place = place_of(factory)
    if not isinstance(name, str) or not _KEBAB_CASE.fullmatch(name):
        written = "no name" if not name or not isinstance(name, str) else f"the name {name!r}"
        message = f"{place}: {factory.__name__} has {written}; give it one in kebab-case, like name = 'fastest-first'"
        raise ComponentError(message)
    if name in CORE_TABLES:
        message = f"{place}: {factory.__name__} is called {name!r}, which is the core's table [{name}]"
        raise ComponentError(message)
    kinds = tuple(getattr(factory, "offered_on", ()))
    for kind in kinds:
        if kind not in KINDS:
            message = f"{place}: {factory.__name__} is offered_on {kind!r}; there are {', '.join(KINDS)}"
            raise ComponentError(message)
    interfaces = _interfaces_of(factory)
    if not interfaces:
        message = f"{place}: {factory.__name__} implements no interface; decorate it with @implementer"
        raise ComponentError(message)
    factory_name = factory_name or f"{factory.__module__}.{factory.__qualname__}"
    return tuple(Declaration(interface, name, factory_name, source, lambda: factory, kinds) for interface in interfaces)


# Files


def plugin_files(paths: Iterable[Path], folders: Iterable[Path]) -> list[Path]:
    """Return the files that may hold components.

    Args:
        paths: Files and folders that somebody named.
        folders: Folders that need not exist.

    Raises:
        ConfigError: A named path does not exist.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            message = f"plugin {str(path)!r}: there is no such file or folder"
            raise ConfigError(message)
        files.update(dict.fromkeys(_python_files(path) if path.is_dir() else [path.absolute()]))
    for folder in folders:
        if folder.is_dir():
            files.update(dict.fromkeys(_python_files(folder)))
    return list(files)


def load_file(path: Path) -> Found:
    """Return what a file offers: own classes with a name and an interface."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        module = _load_module(path, text)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's module raises on import
        reason = f"did not import: {_summary(error)}{_place_in(error, path)}"
        offer = Offer(None, path.stem, path.stem, str(path), OfferState.BROKEN, reason, (reason,))
        return Found(refusals=(Refusal(offer, error, text),))
    declarations: list[Declaration] = []
    refusals: list[Refusal] = []
    for factory in _own_classes(module):
        source = place_of(factory)
        factory_name = f"{path.stem}.{factory.__qualname__}"
        try:
            declarations += declarations_of(factory, source, factory_name)
        except ComponentError as error:
            name = str(vars(factory).get("name") or factory.__name__)
            offer = Offer(None, name, factory_name, source, OfferState.BROKEN, str(error), (str(error),))
            refusals.append(Refusal(offer, error))
    return Found(tuple(declarations), tuple(refusals))


# Installed distributions


def installed_offers() -> list[InstalledOffer]:
    """Return the entry points of the group, imported by nobody yet."""
    # Costs some 40 ms where many distributions are installed, its import half of it.
    from importlib.metadata import entry_points  # noqa: PLC0415

    offers = []
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry_point.dist
        if distribution is None:
            continue
        source = f"{distribution.name} {distribution.version}"
        is_own = _normalised(distribution.name) == OWN_DISTRIBUTION
        factory = entry_point.value.replace(":", ".").strip()
        offers.append(InstalledOffer(entry_point.name, factory, source, is_own, entry_point))
    return sorted(offers, key=lambda offer: (not offer.is_own, offer.source, offer.name))


def load_installed(installed: InstalledOffer) -> Found:
    """Import what an entry point names and return its declarations."""
    try:
        factory = installed.entry_point.load()
        declarations = declarations_of(factory, installed.source, installed.factory)
        _check_name(installed, declarations[0].name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a stranger's module raises on import
        reason = str(error) if isinstance(error, ComponentError) else f"did not import: {_summary(error)}"
        offer = Offer(None, installed.name, installed.factory, installed.source, OfferState.BROKEN, reason, (reason,))
        return Found(refusals=(Refusal(offer, error),))
    return Found(declarations)


def _check_name(installed: InstalledOffer, name: str) -> None:
    if name != installed.name:
        message = (
            f"the entry point of {installed.source} is called {installed.name!r}, "
            f"but {installed.factory} is called {name!r}"
        )
        raise ComponentError(message)


def _importer(built_in: BuiltIn) -> Callable[[], type[Any]]:
    def load() -> type[Any]:
        module, _, name = built_in.location.partition(":")
        try:
            factory: type[Any] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            message = f"built-in {built_in.name!r} ({built_in.location}) did not import: {_summary(error)}"
            raise BrokenPluginError(message) from error
        return factory

    return load


def _python_files(folder: Path) -> list[Path]:
    return sorted(path.absolute() for path in folder.glob("*.py") if not path.name.startswith(("_", ".")))


def _load_module(path: Path, text: str) -> ModuleType:
    """Execute a file under a private name, the same text only once."""
    digest = hashlib.blake2b(f"{path}\0{text}".encode(), digest_size=6).hexdigest()
    name = f"{FILE_PLUGIN_PREFIX}{digest}_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        message = f"{path} is not a Python file"
        raise ImportError(message)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, pickle and inspect look a class's module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _own_classes(module: ModuleType) -> Iterator[type[Any]]:
    """Yield the classes that a module defines and means as components."""
    for value in list(vars(module).values()):
        if not isinstance(value, type) or value.__module__ != module.__name__:
            continue
        # A base class has an interface, and a class of its own a name; a component has both.
        # A Component that declares an interface and has no name is one by mistake.
        is_named = bool(vars(value).get("name")) and (issubclass(value, Component) or bool(_interfaces_of(value)))
        lacks_name = issubclass(value, Component) and not value.name and bool(declared_interfaces(value))
        if is_named or lacks_name:
            yield value


def _interfaces_of(factory: type[Any]) -> list[type[Any]]:
    declaration = implementedBy(factory)  # type: ignore[no-untyped-call]
    return [interface for interface in declaration.interfaces() if interface is not ILifecycle]


def _summary(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _place_in(error: BaseException, path: Path) -> str:
    """Return the line of a file at which its import failed, if any."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f" ({path}:{error.lineno})"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f" ({path}:{lines[-1]})" if lines else ""


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
