"""Source bundles: neighbour modules as text, for late imports.

What a task uses of a loaded module travels by value. `def f(): import helper` may name a
module that was never imported where the job was written; its source travels instead.

    application: collect_sources -> entries -> one blob
    receiver:    SourceBundle(entries), and functions that were rebuilt with it see its
                 `builtins`, whose `__import__` serves the bundle's modules first

The modules of a bundle are in no `sys.modules` (only while their body runs, which dataclasses
need), so two systems with different modules of one name do not see one another's.
"""

from __future__ import annotations

import ast
import builtins
import importlib.machinery
import linecache
import sys
import threading
from contextlib import contextmanager
from importlib.util import decode_source, resolve_name
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Bodies of modules run one at a time: while one does, `sys.modules` shows it.
_body_lock = threading.RLock()


class Source(NamedTuple):
    """One module of a bundle."""

    name: str
    is_package: bool
    file: str
    text: str


def find_source(name: str, roots: Sequence[Path]) -> Source | None:
    """Return the source of a module below one of the folders, or None."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    for root in roots:
        stem = root.joinpath(*parts)
        for file, is_package in ((stem / "__init__.py", True), (stem.with_name(stem.name + ".py"), False)):
            try:
                return Source(name, is_package, str(file), decode_source(file.read_bytes()))
            except (OSError, SyntaxError, UnicodeDecodeError):
                continue
    return None


def find_chain(name: str, roots: Sequence[Path]) -> list[Source]:
    """Return the sources that importing `name` runs, outermost first."""
    parts = name.split(".")
    chain: list[Source] = []
    real = 0
    for depth in range(1, len(parts) + 1):
        partial = ".".join(parts[:depth])
        source = find_source(partial, roots)
        if source is not None:
            real = depth
        elif any(root.joinpath(*parts[:depth]).is_dir() for root in roots):
            # A folder without __init__.py is a package only if there is a module in it that is wanted.
            source = Source(partial, is_package=True, file="", text="")
        else:
            break
        chain.append(source)
    return chain[:real]


def collect_sources(texts: Iterable[tuple[str, str, bool]], roots: Sequence[Path]) -> list[Source]:
    """Return the sources below `roots` that `texts` import, also indirectly.

    Args:
        texts: (source text, module name, whether it is a package) of where to start.
        roots: Folders that top-level modules are looked for in.
    """
    found: dict[str, Source] = {}
    waiting = list(texts)
    while waiting:
        for name in _imported_names(*waiting.pop()):
            for source in find_chain(name, roots):
                if source.name not in found:
                    found[source.name] = source
                    waiting.append((source.text, source.name, source.is_package))
    return [found[name] for name in sorted(found)]


def pack_sources(sources: Sequence[Source]) -> bytes:
    """Return the blob of a bundle; the same sources give the same bytes."""
    packed: bytes = msgpack.packb([list(source) for source in sources], use_bin_type=True)
    return packed


def unpack_sources(packed: bytes | memoryview) -> list[Source]:
    """Return the sources of a bundle's blob."""
    return [Source(*fields) for fields in msgpack.unpackb(packed, raw=False)]


class SourceBundle:
    """The modules of one bundle, executed at their first import.

    Args:
        sources: The modules.

    Attributes:
        builtins: The builtins of functions that were rebuilt with this bundle.
        modules: What was executed so far, by name.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = {source.name: source for source in sources}
        self._tops = frozenset(name.partition(".")[0] for name in self._sources)
        self.modules: dict[str, ModuleType] = {}
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self.import_module}

    def __contains__(self, name: str) -> bool:
        return name in self._sources

    def import_module(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the signature of __import__
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - the signature of __import__
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as `__import__` does, the bundle's own modules first."""
        absolute = _absolute_name(name, globals, level)
        if absolute.partition(".")[0] not in self._tops:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = self.load(absolute)
        if not fromlist:
            return self.load(absolute.partition(".")[0])
        wanted = getattr(module, "__all__", ()) if "*" in fromlist else fromlist
        for each in wanted:
            if not hasattr(module, each) and f"{absolute}.{each}" in self._sources:
                self.load(f"{absolute}.{each}")
        return module

    def load(self, name: str) -> ModuleType:
        """Return a module of the bundle.

        Raises:
            ModuleNotFoundError: The bundle has no such module.
        """
        module = self.modules.get(name)
        if module is not None:
            return module
        source = self._sources.get(name)
        if source is None:
            message = f"No module named {name!r}"
            raise ModuleNotFoundError(message, name=name)
        with _body_lock:
            parent_name, _, own_name = name.rpartition(".")
            parent = self.load(parent_name) if parent_name else None
            if name in self.modules:  # the parent's body, or another thread, imported it
                return self.modules[name]
            module = _new_module(source)
            module.__dict__["__builtins__"] = self.builtins
            self.modules[name] = module
            if parent is not None:
                setattr(parent, own_name, module)
            try:
                with _visible(self.modules):
                    exec(compile(source.text, source.file or source.name, "exec"), module.__dict__)  # noqa: S102 - a module's body is code; it came with the job
            except BaseException:
                del self.modules[name]
                raise
        return module


class Importer:
    """Imports of one unit: its own modules, its bundle's, then everybody's.

    Args:
        modules: Modules that travelled by value, by name; may grow later.
        bundle: The sources that came along; None for none.

    Attributes:
        builtins: The builtins of the unit's functions.
    """

    def __init__(self, modules: Mapping[str, ModuleType], bundle: SourceBundle | None) -> None:
        self.bundle = bundle
        self.builtins: dict[str, Any] = {**vars(builtins), "__import__": self.import_module}
        self._modules = modules
        self._otherwise = builtins.__import__ if bundle is None else bundle.import_module

    def import_module(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002 - the signature of __import__
        locals: Mapping[str, Any] | None = None,  # noqa: A002 - the signature of __import__
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as `__import__` does."""
        absolute = _absolute_name(name, globals, level)
        module = self._modules.get(absolute)
        if module is None or (top := self._modules.get(absolute.partition(".")[0])) is None:
            return self._otherwise(name, globals, locals, fromlist or (), level)
        return module if fromlist else top


def _absolute_name(name: str, namespace: Mapping[str, Any] | None, level: int) -> str:
    if not level:
        return name
    namespace = namespace or {}
    package = namespace.get("__package__") or namespace.get("__name__", "").rpartition(".")[0]
    return resolve_name("." * level + name, package)


def _new_module(source: Source) -> ModuleType:
    module = ModuleType(source.name)
    module.__file__ = source.file or None
    module.__package__ = source.name if source.is_package else source.name.rpartition(".")[0]
    if source.is_package:
        module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec(
        source.name, None, origin=source.file, is_package=source.is_package
    )
    if source.file and not Path(source.file).exists():
        # Tracebacks quote the source although this machine does not have the file.
        lines = source.text.splitlines(keepends=True)
        linecache.cache[source.file] = (len(source.text), None, lines, source.file)
    return module


@contextmanager
def _visible(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    """Show modules in `sys.modules`, and put back what was there."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def _imported_names(text: str, module_name: str, is_package: bool) -> set[str]:  # noqa: FBT001 - a fact of the module
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return set()
    package = module_name if is_package else module_name.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and not package:
                continue
            origin = "." * node.level + (node.module or "")
            try:
                base = resolve_name(origin, package) if node.level else origin
            except ImportError:
                continue
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names
