"""The sending side of travelling code: values and units become pickles."""

from __future__ import annotations

import pickle
import sys
from types import CellType, FunctionType, MethodType, ModuleType
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
from concurro.wire.messages import INLINE_LIMIT
from concurro.wire.reach import imports_of, nested_code
from concurro.wire.units import CellUse, Use

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from concurro.wire.code import CodeTable
    from concurro.wire.units import Known

_code_unit = rebuild.code_unit
_BASICS = ("__name__", "__package__", "__file__")


class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles values; travelling code becomes references to units.

    Attributes:
        needs: The blobs that loading takes, by digest.
    """

    def __init__(self, file: io.BytesIO, table: CodeTable, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.needs: dict[bytes, BlobRef] = {}
        self._table = table

    def reducer_override(self, obj: Any) -> Any:
        """Reduce what travels by value; leave the rest to cloudpickle."""
        if obj is _code_unit:
            return NotImplemented
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
        known = self._table.reference(value)
        if known.rides_inline:
            known.rides_inline = False
            return _code_unit, (known.unit.ref.digest, known.index, bytes(known.unit.code))
        return self._refer(known)

    def _refer(self, known: Known) -> Any:
        self.needs.update(known.unit.needs)
        return _code_unit, (known.unit.ref.digest, known.index)

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
    """Pickles a unit: its members by value, other classes by reference.

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
        large: Large buffers that are not in the pickle, in order.
    """

    def __init__(
        self, file: io.BytesIO, table: CodeTable, members: list[Any], words: set[str], bundle: bytes | None
    ) -> None:
        self.large: list[pickle.PickleBuffer] = []
        super().__init__(file, table, large_only(self.large))
        self.open: dict[int, Any] = {}
        self.words = set(words)
        self.uses: list[Use] = []
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
            return self._refer(known) if known is not None and known.arrived else self._function(value)
        if known is not None:
            self.uses.extend(known.unit.uses)
            return self._refer(known)
        self.open[id(value)] = value
        return _code_unit, (b"", 0)

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
        self.uses.extend(Use(namespace, name, value) for name, value in slots["__globals__"].items())
        self.uses.extend(CellUse(cell, cell.cell_contents) for cell in function.__closure__ or () if _is_bound(cell))
        slots["imports"] = self._read(function)
        # Filled by set_function: a closure may lead back to the function itself.
        empty = None if function.__closure__ is None else tuple(CellType() for _ in function.__closure__)
        arguments = (function.__code__, self._namespace(namespace), empty)
        return rebuild.make_function, arguments, (state, slots), None, None, rebuild.set_function

    def _read(self, function: FunctionType) -> list[ModuleType]:
        """Note the names that a function uses; return the modules it imports."""
        package = function.__globals__.get("__package__") or ""
        modules = []
        for code in nested_code(function.__code__):
            self.words.update(code.co_names)
            self.words.update(const for const in code.co_consts if isinstance(const, str) and const.isidentifier())
            for name in imports_of(code, package):
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
        self.uses.extend(Use(contents, name, value) for name, value in used.items())
        namespace = self._namespace(contents)
        arguments = (namespace.ordinal, namespace.basics, self._bundle)
        return rebuild.unit_module, arguments, used, None, None, rebuild.set_module

    def _namespace(self, namespace: dict[str, Any]) -> _Namespace:
        known = self._namespaces.get(id(namespace))
        if known is None:
            known = self._namespaces[id(namespace)] = _Namespace(len(self._namespaces), namespace)
        return known


def large_only(large: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a buffer callback that lists large buffers, small ones stay."""

    def stays_inline(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < INLINE_LIMIT:
            return True
        large.append(buffer)
        return False

    return stays_inline


def _is_bound(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True
