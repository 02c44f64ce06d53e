"""The receiving side of travelling code: pickles become values and units."""

from __future__ import annotations

import builtins
import pickle
from types import ModuleType
from typing import TYPE_CHECKING, Any

from concurro.ids import BlobRef
from concurro.wire import rebuild
from concurro.wire.bundle import Importer

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from concurro.wire.code import CodeTable

_REBUILD = rebuild.__name__


class Loader(pickle.Unpickler):
    """Loads values and units.

    The placeholders of `wire/rebuild.py` become its methods.

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

    def load(self) -> Any:
        """Return the value. Once."""
        try:
            return super().load()
        finally:
            # Its own methods are among what it loaded: in a circle all of that would stay until a collection.
            self._special.clear()
            self.memo.clear()

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
