"""Code that travels by value, once, named by the digest of its pickle.

    sender                                          receiver
    value -> ValuePickler                           Loader -> value
               |  class, function, module             ^  code_unit(digest, index)
               v                                      |
           CodeTable.reference -> unit -> BlobStore ~~~> BlobStore -> CodeTable.member
               UnitPickler: cloudpickle's reduction of one class (or of classes that refer
               to one another in a circle), with the functions and globals that they use

A unit is one pickle. Other travelling classes are named in it by the digests of their units,
so every class is rebuilt once per process and keeps its identity: the tables map both ways, and an
instance that comes back is one of the class that left. Functions ride inside the units of what
uses them. The functions of a unit share their globals; two units do not, each has its copy
of a mutable global as it was when the unit was made.
"""

from __future__ import annotations

import builtins
import dis
import io
import pickle
import sys
import threading
import weakref
from collections import deque
from importlib.util import resolve_name
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle
from cloudpickle import cloudpickle as reducers

from concurro.ids import BlobRef
from concurro.kernel.declarations import (
    DECLARATION_ATTRIBUTES,
    declared_interfaces,
    interface_parts,
    is_interface,
)
from concurro.wire import rebuild
from concurro.wire.bundle import (
    Importer,
    SourceBundle,
    collect_sources,
    find_source,
    pack_sources,
    unpack_sources,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from concurro.wire.blobs import BlobStore
    from concurro.wire.travelling import Travelling

_MISSING = object()
_REBUILD = rebuild.__name__
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_KEPT_UNITS = 256  # rebuilt units that stay although nothing refers to them at the moment
_INLINE_CODE = 4096  # a function that may be used once rides in the payload up to this size [B]
_IMPORT_NAME = dis.opmap["IMPORT_NAME"]
_BASICS = ("__name__", "__package__", "__file__")


class Unit:
    """One pickle of code.

    Attributes:
        ref: Its blob.
        code: The pickle.
        members: Weak references to what it defines, in order.
        needs: The blobs that loading it takes, itself included, by digest.
        uses: The globals that it was made from.
    """

    __slots__ = ("__weakref__", "code", "members", "needs", "ref", "uses")

    def __init__(self, ref: BlobRef, code: bytes | memoryview) -> None:
        self.ref = ref
        self.code = code
        self.members: list[weakref.ref[Any]] = []
        self.needs: dict[bytes, BlobRef] = {ref.digest: ref}
        self.uses: list[_Use] = []

    def is_current(self) -> bool:
        """Say whether the globals that it was made from are still bound to the same values."""
        return all(use.is_current() for use in self.uses)


class _Use:
    """A global that a unit was made from, and what it was bound to."""

    __slots__ = ("_is_weak", "_name", "_namespace", "_value")

    def __init__(self, namespace: dict[str, Any], name: str, value: Any) -> None:
        self._namespace = namespace
        self._name = name
        # A class must be able to die although a unit was made from its name.
        self._is_weak = isinstance(value, (type, FunctionType))
        self._value = weakref.ref(value) if self._is_weak else value

    def is_current(self) -> bool:
        value = self._value() if self._is_weak else self._value
        return self._namespace.get(self._name, _MISSING) is value


class _Known:
    """Where a class or function is defined: the unit and the place in it."""

    __slots__ = ("arrived", "index", "inlined", "member", "unit")

    def __init__(self, member: weakref.ref[Any], unit: Unit, index: int, *, arrived: bool) -> None:
        self.member = member
        self.unit = unit
        self.index = index
        self.arrived = arrived
        self.inlined = False


class CodeTable:
    """Classes and functions by digest and digests by class, of one process. Thread-safe.

    Args:
        blobs: Where units are kept while something refers to what they define.
        travelling: What travels by value from here.
    """

    def __init__(self, blobs: BlobStore, travelling: Travelling) -> None:
        self.blobs = blobs
        self.travelling = travelling
        self._known: dict[int, _Known] = {}
        self._units: dict[bytes, Unit] = {}
        self._recent: deque[Any] = deque(maxlen=_KEPT_UNITS)
        self._bundles: dict[bytes, SourceBundle] = {}
        self._own_bundle: BlobRef | None = None
        self._own_bundle_made = False
        self._lock = threading.RLock()

    # What leaves

    def refresh(self) -> None:
        """Make every unit again that was made here: globals and class attributes may have changed."""
        with self._lock:
            self.travelling.refresh()
            self._own_bundle_made = False
            for key in [key for key, known in self._known.items() if not known.arrived]:
                del self._known[key]

    def goes_by_value(self, value: Any) -> bool:
        """Say whether a class, function, module or interface travels by value."""
        if id(value) in self._known:
            return True
        if isinstance(value, ModuleType):
            return self.travelling.covers(value.__name__)
        if isinstance(value, type) and not value.__flags__ & _HEAP_TYPE:
            return False
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and self.travelling.covers(module):
            return True
        return not is_interface(value) and not reducers._should_pickle_by_reference(value)  # noqa: SLF001 - cloudpickle's own test of what can be imported

    def reference(self, value: Any) -> tuple[Unit, int]:
        """Return where `value` is defined, making its unit when there is none."""
        known = self.known(value)
        if known is None:
            with self._lock:
                self._define(value)
                known = self._known[id(value)]
        return known.unit, known.index

    def known(self, value: Any) -> _Known | None:
        """Return where `value` is defined, if that is known and still so."""
        known = self._known.get(id(value))
        if known is None or known.member() is not value:
            return None
        return known if known.arrived or known.unit.is_current() else None

    def source_of(self, value: Any) -> tuple[bytes, str, str] | None:
        """Return (bundle, module, qualified name) of what a source bundle defined here."""
        module_name = getattr(value, "__module__", None)
        qualname = getattr(value, "__qualname__", "")
        for digest, bundle in list(self._bundles.items()):
            found: Any = bundle.modules.get(module_name) if isinstance(module_name, str) else None
            for part in qualname.split("."):
                found = getattr(found, part, None)
            if found is value:
                return digest, str(module_name), qualname
        return None

    def bundle_of(self, function: FunctionType) -> bytes | None:
        """Return the digest of the bundle that a rebuilt function imports from."""
        importer = getattr(function.__builtins__.get("__import__"), "__self__", None)  # type: ignore[attr-defined]
        for digest, bundle in list(self._bundles.items()):
            if importer is bundle or (isinstance(importer, Importer) and importer.bundle is bundle):
                return digest
        return None

    def is_neighbour(self, module_name: str) -> bool:
        """Say whether an import of that name means a module that travels, loaded or not."""
        if self.travelling.covers(module_name):
            return True
        roots = self.travelling.roots()
        return bool(roots) and find_source(module_name.partition(".")[0], roots) is not None

    def own_bundle(self) -> BlobRef | None:
        """Return the bundle of this process's neighbour modules; None when there are none."""
        with self._lock:
            if not self._own_bundle_made:
                self._own_bundle = self._make_bundle()
                self._own_bundle_made = True
            return self._own_bundle

    def _make_bundle(self) -> BlobRef | None:
        roots = self.travelling.roots()
        if not roots:
            return None
        texts = []
        files = {(name, getattr(module, "__file__", None)) for name, module in self.travelling.modules().items()}
        if self.travelling.main_file is not None:
            files.add(("__main__", str(self.travelling.main_file)))
        for name, file in sorted(files, key=str):
            if isinstance(file, str) and file.endswith(".py"):
                try:
                    text = Path(file).read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError):
                    continue
                texts.append((text, name, Path(file).name == "__init__.py"))
        sources = collect_sources(texts, roots)
        return self.blobs.put(pack_sources(sources), "bundle") if sources else None

    def _define(self, root: Any) -> None:
        """Make the units of `root` and of every class that it reaches."""
        found: dict[int, Any] = {}
        reached: dict[int, list[int]] = {}
        waiting = [root]
        while waiting:
            value = waiting.pop()
            if id(value) in reached:
                continue
            found[id(value)] = value
            pickler, _ = self._pickle_unit([value])
            reached[id(value)] = list(pickler.open)
            waiting.extend(pickler.open.values())
        for circle in _circles(reached):
            members = sorted((found[key] for key in circle), key=_full_name)
            pickler, code = self._pickle_unit(members)
            self._keep(members, code, pickler.needs, pickler.uses, arrived=False)

    def _pickle_unit(self, members: list[Any]) -> tuple[UnitPickler, bytes]:
        words: set[str] = set()
        bundle: bytes | None = None
        while True:
            file = io.BytesIO()
            pickler = UnitPickler(file, self, members, words, bundle)
            pickler.dump(tuple(members))
            # What is used of a module, and whether code imports at run time, is known once all of it was seen.
            words_grew = pickler.met_modules and pickler.words != words
            if not words_grew and (bundle is not None or not pickler.imports_neighbours):
                return pickler, file.getvalue()
            words = pickler.words
            if pickler.imports_neighbours and bundle is None:
                own = self.own_bundle()
                bundle = own.digest if own is not None else b""

    def _keep(  # noqa: PLR0913 - the parts of a unit
        self,
        members: list[Any] | tuple[Any, ...],
        code: bytes | memoryview,
        needs: dict[bytes, BlobRef],
        uses: list[_Use],
        *,
        arrived: bool,
        digest: bytes | None = None,
    ) -> Unit:
        ref = self.blobs.put(code, None, digest)
        unit = Unit(ref, code)
        unit.needs.update(needs)
        unit.uses = uses
        # The blob stays for as long as the unit is known, that is, as what it defines lives.
        owner = ("code", id(unit))
        self.blobs.own(ref.digest, owner)
        weakref.finalize(unit, self.blobs.release, owner).atexit = False
        self._units[ref.digest] = unit
        for index, member in enumerate(members):
            reference = weakref.ref(member, self._forgetter(id(member), ref.digest))
            unit.members.append(reference)
            self._known[id(member)] = _Known(reference, unit, index, arrived=arrived)
        return unit

    def _forgetter(self, key: int, digest: bytes) -> Callable[[weakref.ref[Any]], None]:
        def forget(reference: weakref.ref[Any]) -> None:
            known = self._known.get(key)
            if known is not None and known.member is reference:
                del self._known[key]
            unit = self._units.get(digest)
            if unit is not None and all(member() is None for member in unit.members):
                del self._units[digest]

        return forget

    # What arrives

    def member(self, digest: bytes, index: int, code: bytes | None = None) -> Any:
        """Return what a unit defines, rebuilding it when it is not here."""
        with self._lock:
            unit = self._units.get(digest)
            member = unit.members[index]() if unit is not None else None
            if member is not None:
                return member
            if code is not None:
                self.blobs.put(code)
            try:
                text = self.blobs.get(digest)
            except KeyError:
                message = f"code {digest.hex()[:12]} did not arrive with the value that needs it"
                raise pickle.UnpicklingError(message) from None
            loader = Loader(io.BytesIO(text), self)
            members = loader.load()
            self._keep(members, text, loader.needs, [], arrived=True, digest=digest)
            self._recent.append(members)
            return members[index]

    def unit(self, digest: bytes) -> Unit | None:
        """Return a unit that is known."""
        return self._units.get(digest)

    def bundle(self, digest: bytes) -> SourceBundle:
        """Return an arrived source bundle."""
        with self._lock:
            bundle = self._bundles.get(digest)
            if bundle is None:
                bundle = self._bundles[digest] = SourceBundle(unpack_sources(self.blobs.get(digest)))
                self.blobs.own(digest, "bundle")
            return bundle

    def from_source(self, digest: bytes, module_name: str, qualname: str) -> Any:
        """Return what a module of a bundle defines; here the bundle's maker has its own module."""
        own = self._own_bundle
        if own is not None and own.digest == digest:
            __import__(module_name)
            found: Any = sys.modules[module_name]
        else:
            found = self.bundle(digest).load(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
        return found


class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles values; travelling classes and functions become references to units.

    Attributes:
        needs: The blobs that loading takes, by digest.
    """

    def __init__(self, file: io.BytesIO, table: CodeTable, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.needs: dict[bytes, BlobRef] = {}
        self._table = table

    def reducer_override(self, obj: Any) -> Any:
        """Reduce what travels by value; leave the rest to cloudpickle."""
        if isinstance(obj, (type, FunctionType, ModuleType)) or is_interface(obj):
            if not self._table.goes_by_value(obj):
                return super().reducer_override(obj)
            source = self._table.source_of(obj)
            return self._reduce_code(obj) if source is None else self._from_source(source)
        if isinstance(obj, MethodType) and getattr(obj.__self__, obj.__name__, None) == obj:
            return getattr, (obj.__self__, obj.__name__)
        return NotImplemented

    def _reduce_code(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            message = f"module {value.__name__} travels with the code that uses it, not as a value"
            raise pickle.PicklingError(message)
        unit, index = self._table.reference(value)
        known = self._table.known(value)
        if known is not None and not known.inlined and _may_ride_inline(value, unit):
            known.inlined = True
            return rebuild.code_unit, (unit.ref.digest, index, bytes(unit.code))
        return self._refer(unit, index)

    def _refer(self, unit: Unit, index: int) -> Any:
        self.needs.update(unit.needs)
        return rebuild.code_unit, (unit.ref.digest, index)

    def _from_source(self, source: tuple[bytes, str, str]) -> Any:
        self._need(source[0])
        return rebuild.from_source, source

    def _need(self, digest: bytes) -> None:
        self.needs[digest] = BlobRef(digest, len(self._table.blobs.get(digest)))


class _Namespace:
    """Stands in a unit for the globals of a module's functions."""

    __slots__ = ("basics", "ordinal")

    def __init__(self, ordinal: int, namespace: dict[str, Any]) -> None:
        self.ordinal = ordinal
        self.basics = {name: namespace[name] for name in _BASICS if isinstance(namespace.get(name), str)}


class UnitPickler(ValuePickler):
    """Pickles a unit: its members and their functions by value, other classes by reference.

    Args:
        file: Where to.
        table: The process's table.
        members: What the unit defines.
        words: Names that code is known to use; of modules only these travel.
        bundle: Digest of the bundle for imports at run time; empty for none, None if nothing imports.

    Attributes:
        open: Travelling classes that were met and have no unit yet, by identity.
        words: Names that the code met uses.
        uses: Globals that the unit was made from.
        met_modules: Whether a module travels in it.
        imports_neighbours: Whether code imports a travelling module at run time.
    """

    def __init__(  # noqa: PLR0913 - see above
        self, file: io.BytesIO, table: CodeTable, members: list[Any], words: set[str], bundle: bytes | None
    ) -> None:
        super().__init__(file, table)
        self.open: dict[int, Any] = {}
        self.words = set(words)
        self.uses: list[_Use] = []
        self.met_modules = False
        self.imports_neighbours = False
        self._used = words
        self._bundle = bundle
        self._members = {id(member) for member in members}
        self._namespaces: dict[int, _Namespace] = {}
        if bundle:
            self._need(bundle)

    def reducer_override(self, obj: Any) -> Any:
        """Reduce namespaces as well."""
        if type(obj) is _Namespace:
            return rebuild.unit_namespace, (obj.ordinal, obj.basics, self._bundle)
        return super().reducer_override(obj)

    def _reduce_code(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            return self._module(value)
        if id(value) in self._members:
            return self._by_value(value)
        known = self._table.known(value)
        if isinstance(value, FunctionType):
            return self._refer(known.unit, known.index) if known is not None and known.arrived else self._function(value)
        if known is not None:
            self.uses.extend(known.unit.uses)
            return self._refer(known.unit, known.index)
        self.open[id(value)] = value
        return rebuild.code_unit, (b"", 0)

    def _by_value(self, value: Any) -> Any:
        if isinstance(value, FunctionType):
            return self._function(value)
        if is_interface(value):
            return rebuild.make_interface, interface_parts(value)
        make, arguments, (attributes, slots), *_ = reducers._dynamic_class_reduce(value)  # noqa: SLF001 - what cloudpickle would write
        # Without cloudpickle's tracker: identity is the table's matter, and its random ids would change the digest.
        arguments = (*arguments[:-2], None, arguments[-1])
        attributes = {name: each for name, each in attributes.items() if name not in DECLARATION_ATTRIBUTES}
        state = ((attributes, slots), declared_interfaces(value))
        return make, arguments, state, None, None, rebuild.set_class

    def _function(self, function: FunctionType) -> Any:
        namespace = function.__globals__
        state, slots = reducers._function_getstate(function)  # noqa: SLF001 - what cloudpickle would write
        self.uses.extend(_Use(namespace, name, value) for name, value in slots["__globals__"].items())
        slots["imports"] = self._read(function)
        empty = None if function.__closure__ is None else tuple(reducers._make_empty_cell() for _ in function.__closure__)  # noqa: SLF001 - pickled as a call of itself
        arguments = (function.__code__, self._namespace(namespace), empty)
        return rebuild.make_function, arguments, (state, slots), None, None, rebuild.set_function

    def _read(self, function: FunctionType) -> list[ModuleType]:
        """Note which names a function uses; return the loaded modules that its body imports."""
        package = function.__globals__.get("__package__") or ""
        modules = []
        for code in _nested(function.__code__):
            self.words.update(code.co_names)
            self.words.update(const for const in code.co_consts if isinstance(const, str) and const.isidentifier())
            for name in _imports_of(code, package):
                if not self._table.is_neighbour(name):
                    continue
                self.imports_neighbours = True
                self.words.update(name.split("."))
                parts = name.split(".")
                partial = [".".join(parts[: depth + 1]) for depth in range(len(parts))]
                modules += [sys.modules[each] for each in partial if self._table.travelling.covers(each)]
        if self._bundle is None and self._table.bundle_of(function) is not None:
            self.imports_neighbours = True
        return modules

    def _module(self, module: ModuleType) -> Any:
        self.met_modules = self.imports_neighbours = True
        contents = vars(module)
        used = {name: contents[name] for name in self._used if name in contents and not name.startswith("__")}
        used = dict(sorted(used.items()))
        self.uses.extend(_Use(contents, name, value) for name, value in used.items())
        namespace = self._namespace(contents)
        arguments = (namespace.ordinal, namespace.basics, self._bundle)
        return rebuild.unit_module, arguments, used, None, None, rebuild.set_module

    def _namespace(self, namespace: dict[str, Any]) -> _Namespace:
        known = self._namespaces.get(id(namespace))
        if known is None:
            known = self._namespaces[id(namespace)] = _Namespace(len(self._namespaces), namespace)
        return known


class Loader(pickle.Unpickler):
    """Loads values and units; the placeholders of `wire/rebuild.py` become its methods.

    Attributes:
        needs: The blobs that the code in it took, by digest.
    """

    def __init__(self, file: io.BytesIO, table: CodeTable, buffers: list[Any] | None = None) -> None:
        super().__init__(file, buffers=buffers)
        self.needs: dict[bytes, BlobRef] = {}
        self._table = table
        self._modules: dict[int, ModuleType] = {}
        self._imported: dict[str, ModuleType] = {}
        self._importer: Importer | None = None
        self._special: dict[str, Callable[..., Any]] = {
            "code_unit": self._code_unit,
            "unit_namespace": self._unit_namespace,
            "unit_module": self._unit_module,
            "from_source": self._from_source,
        }

    def find_class(self, module: str, name: str, /) -> Any:
        """Return the class or function of that name."""
        if module == _REBUILD and name in self._special:
            return self._special[name]
        return super().find_class(module, name)

    def _code_unit(self, digest: bytes, index: int, code: bytes | None = None) -> Any:
        member = self._table.member(digest, index, code)
        unit = self._table.unit(digest)
        if unit is not None:
            self.needs.update(unit.needs)
        return member

    def _from_source(self, digest: bytes, module: str, qualname: str) -> Any:
        return self._table.from_source(digest, module, qualname)

    def _unit_namespace(self, ordinal: int, basics: dict[str, str], bundle: bytes | None) -> dict[str, Any]:
        return vars(self._new_module(ordinal, basics, bundle))

    def _unit_module(self, ordinal: int, basics: dict[str, str], bundle: bytes | None) -> ModuleType:
        module = self._new_module(ordinal, basics, bundle)
        name = module.__name__
        self._imported[name] = module
        source = self._table.bundle(bundle) if bundle else None

        def absent(attribute: str) -> Any:
            if source is not None and name in source and not attribute.startswith("__"):
                return getattr(source.load(name), attribute)
            message = f"module {name!r} travelled without {attribute!r}: no code that came with it names it"
            raise AttributeError(message, name=attribute, obj=module)

        module.__dict__["__getattr__"] = absent
        return module

    def _new_module(self, ordinal: int, basics: dict[str, str], bundle: bytes | None) -> ModuleType:
        module = self._modules.get(ordinal)
        if module is None:
            module = self._modules[ordinal] = ModuleType(basics.get("__name__", "?"))
            module.__dict__.update(basics)
            module.__dict__["__builtins__"] = vars(builtins) if bundle is None else self._import(bundle).builtins
        return module

    def _import(self, bundle: bytes) -> Importer:
        if self._importer is None:
            source = None
            if bundle:
                source = self._table.bundle(bundle)
                self.needs[bundle] = BlobRef(bundle, len(self._table.blobs.get(bundle)))
            self._importer = Importer(self._imported, source)
        return self._importer


def _may_ride_inline(value: Any, unit: Unit) -> bool:
    # A lambda is often used once: a blob of its own would cost a round trip for each.
    is_local = isinstance(value, FunctionType) and "<" in value.__qualname__
    return is_local and len(unit.needs) == 1 and len(unit.code) <= _INLINE_CODE


def _full_name(value: Any) -> tuple[str, str]:
    return value.__module__, getattr(value, "__qualname__", value.__name__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _nested(const)


def _imports_of(code: CodeType, package: str) -> list[str]:
    """Return the modules that a code object imports, and what may be modules in them."""
    if _IMPORT_NAME not in code.co_code[::2]:
        return []
    names: list[str] = []
    constants: list[Any] = [None, None]
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":
            level, fromlist = constants[-2:]
            name = str(instruction.argval)
            if level and not package:
                continue
            absolute = resolve_name("." * level + name, package) if level else name
            names += [absolute, *(f"{absolute}.{each}" for each in fromlist or () if each != "*")]
        elif instruction.opname.startswith("LOAD_"):
            constants.append(instruction.argval)
    return names


def _circles(reached: dict[int, list[int]]) -> list[list[int]]:
    """Return the strongly connected components, those that others need first.

    Source: R. Tarjan, Depth-first search and linear graph algorithms, SIAM J. Comput. 1 (1972).
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    placed: set[int] = set()
    circles: list[list[int]] = []
    for root in reached:
        if root in order:
            continue
        path = [(root, iter(reached[root]))]
        order[root] = low[root] = len(order)
        stack.append(root)
        while path:
            node, following = path[-1]
            for other in following:
                if other not in order:
                    order[other] = low[other] = len(order)
                    stack.append(other)
                    path.append((other, iter(reached[other])))
                    break
                if other not in placed:
                    low[node] = min(low[node], order[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == order[node]:
                    at = stack.index(node)
                    circles.append(stack[at:])
                    placed.update(stack[at:])
                    del stack[at:]
    return circles
