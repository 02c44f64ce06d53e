"""Code that travels by value, once, named by the digest of its pickle.

    sender                                          receiver
    value -> ValuePickler                           Loader -> value
               |  class, function, module             ^  code_unit(digest, index)
               v                                      |
           CodeTable.reference -> unit -> BlobStore ~~~> BlobStore -> CodeTable.member
               UnitPickler: cloudpickle's reduction of one class (or of classes that refer
               to one another in a circle), with the functions and globals that they use

A unit is one pickle; buffers of 64 KiB and more in it are blobs of their own, which it names. Other
travelling classes are named in it by the digests of their units, so every class is rebuilt once
per process and keeps its identity: the tables map both ways, and an instance that comes back is one
of the class that left. Functions ride inside the units of what uses them. The functions of a unit
share their globals; two units do not, each has its copy of a mutable global as it was when the unit
was made.
"""

from __future__ import annotations

import io
import pickle
import sys
import threading
import weakref
from collections import deque
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import msgpack
from cloudpickle import cloudpickle as reducers

from concurro.ids import BlobRef
from concurro.kernel.declarations import is_interface
from concurro.wire.bundle import (
    Importer,
    SourceBundle,
    collect_sources,
    find_chain,
    pack_sources,
    unpack_sources,
)
from concurro.wire.loader import Loader
from concurro.wire.picklers import UnitPickler
from concurro.wire.reach import circles
from concurro.wire.units import Known, Unit, Use

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.wire.blobs import BlobStore
    from concurro.wire.travelling import Travelling

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement
_KEPT_UNITS = 256  # rebuilt units that stay although nothing refers to them at the moment
_KEPT_BYTES = 64 * 1024 * 1024  # and their size, large buffers included
_PARTED = b"\x03"  # in front of a unit whose large buffers are blobs of their own


class CodeTable:
    """Classes and functions by digest, and back, of one process.

    Thread-safe.

    Args:
        blobs: Where units are kept while something refers to what they define.
        travelling: What travels by value from here.

    Attributes:
        call_classes: What executors made for the functions that they call here.
    """

    def __init__(self, blobs: BlobStore, travelling: Travelling) -> None:
        self.blobs = blobs
        self.travelling = travelling
        self.call_classes: dict[Any, Any] = {}
        self._known: dict[int, Known] = {}
        self._units: dict[bytes, Unit] = {}
        self._recent: deque[tuple[Any, int]] = deque()
        self._recent_bytes = 0
        self._bundles: dict[bytes, SourceBundle] = {}
        self._own_bundle: BlobRef | None = None
        self._own_bundle_made = False
        # Raised by refresh. Entries are not deleted there: they go at any moment by themselves, and
        # a dictionary that changes while it is looped over is an error.
        self._round = 0
        self._lock = threading.RLock()

    # What leaves

    def refresh(self) -> None:
        """Make the units of this process again at their next use.

        Globals and class attributes may have changed.
        """
        with self._lock:
            self.travelling.refresh()
            self._own_bundle_made = False
            self._round += 1

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
        if is_interface(value):
            return getattr(sys.modules.get(value.__module__), value.__name__, None) is not value
        return not reducers._should_pickle_by_reference(value)  # noqa: SLF001 - cloudpickle's own test of what can be imported

    def reference(self, value: Any) -> Known:
        """Return where `value` is defined, making its unit when there is none."""
        known = self.known(value)
        if known is None:
            with self._lock:
                self._define(value)
                known = self._known[id(value)]
        return known

    def known(self, value: Any) -> Known | None:
        """Return where `value` is defined, if that is known and still so."""
        known = self._known.get(id(value))
        if known is None or known.member() is not value:
            return None
        if known.arrived:  # its large buffers may be gone: whoever lent them wants their pages back
            return known if all(part in self.blobs for part in _parts_of(known.unit.code)) else None
        return known if known.round == self._round and known.unit.is_current() else None

    def travels_unchanged(self, value: Any) -> bool:
        """Say whether what has travelled would still travel as the same unit.

        Its unit is made again where it may have changed; there is no other way to find out.
        """
        if self.known(value) is not None:
            return True
        with self._lock:
            before = self._known.get(id(value))
            if before is None or before.member() is not value:
                return False
            digest = before.unit.ref.digest
            try:
                return self.reference(value).unit.ref.digest == digest
            except Exception:  # noqa: BLE001 - pickling runs user code; whoever sends the value says what is wrong
                return False

    def source_of(self, value: Any) -> tuple[bytes, str, str] | None:
        """Return (bundle, module, qualified name) of what a bundle defined."""
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
        builtins: dict[str, Any] = getattr(function, "__builtins__", {})
        importer = getattr(builtins.get("__import__"), "__self__", None)
        for digest, bundle in list(self._bundles.items()):
            if importer is bundle or (isinstance(importer, Importer) and importer.bundle is bundle):
                return digest
        return None

    def is_neighbour(self, module_name: str) -> bool:
        """Say whether that name means a module that travels, loaded or not."""
        if self.travelling.covers(module_name):
            return True
        roots = self.travelling.roots()
        return bool(roots and find_chain(module_name, roots))

    def own_bundle(self) -> BlobRef | None:
        """Return the bundle of the neighbour modules; None if there are none."""
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
        holder = object()  # of large buffers, until their unit is
        try:
            self._make_units(root, holder)
        finally:
            self.blobs.release(holder)

    def _make_units(self, root: Any, holder: object) -> None:
        found: dict[int, Any] = {}
        reached: dict[int, list[int]] = {}
        closed: dict[int, tuple[UnitPickler, bytes]] = {}
        waiting = [root]
        while waiting:
            value = waiting.pop()
            if id(value) in reached:
                continue
            found[id(value)] = value
            pickler, code = self._pickle_unit([value], holder)
            reached[id(value)] = list(pickler.open)
            waiting.extend(pickler.open.values())
            if not pickler.open:
                closed[id(value)] = pickler, code
        for circle in circles(reached):
            members = sorted((found[key] for key in circle), key=_full_name)
            pickler, code = closed.get(circle[0]) or self._pickle_unit(members, holder)
            self._keep(members, code, pickler.needs, pickler.uses, arrived=False)

    def _pickle_unit(self, members: list[Any], holder: object) -> tuple[UnitPickler, bytes]:
        words: set[str] = set()
        bundle: bytes | None = None
        while True:
            file = io.BytesIO()
            pickler = UnitPickler(file, self, members, words, bundle)
            pickler.dump(tuple(members))
            # What is used of a module, and whether code imports at run time, is known once all of it was seen.
            words_grew = pickler.met_modules and pickler.words != words
            if not words_grew and (bundle is not None or not pickler.imports_neighbours):
                return pickler, self._part(pickler, file.getvalue(), holder)
            words = pickler.words
            if pickler.imports_neighbours and bundle is None:
                own = self.own_bundle()
                bundle = own.digest if own is not None else b""

    def _part(self, pickler: UnitPickler, pickled: bytes, holder: object) -> bytes:
        """Return the text of a unit; its large buffers become blobs that it names."""
        if not pickler.large:
            return pickled
        refs = [self.blobs.put_buffer(buffer.raw(), holder) for buffer in pickler.large]
        pickler.needs.update((ref.digest, ref) for ref in refs)
        text: bytes = msgpack.packb([refs, pickled])
        return _PARTED + text

    def _load(self, text: bytes | memoryview) -> tuple[Any, dict[bytes, BlobRef]]:
        """Return what the text of a unit defines, and the blobs that this took."""
        if text[:1] != _PARTED:
            loader = Loader(io.BytesIO(text), self)
            return loader.load(), loader.needs
        parts, pickled = msgpack.unpackb(text[1:])
        refs = [BlobRef(*part) for part in parts]
        buffers = [self.blobs.lend(ref.digest, private=True) for ref in refs]
        loader = Loader(io.BytesIO(pickled), self, buffers)
        members = loader.load()
        return members, {**loader.needs, **{ref.digest: ref for ref in refs}}

    def _keep(  # noqa: PLR0913 - the parts of a unit
        self,
        members: list[Any] | tuple[Any, ...],
        code: bytes | memoryview,
        needs: dict[bytes, BlobRef],
        uses: list[Use],
        *,
        arrived: bool,
        digest: bytes | None = None,
    ) -> Unit:
        ref = self.blobs.put(code, None, digest)
        unit = self._units.get(ref.digest)
        if unit is not None and unit.defines(members):
            # Made again, and the same: only what it was made from may be bound anew.
            unit.uses = uses
            for member in members:
                self._known[id(member)].round = self._round
            return unit
        unit = Unit(ref, code)
        unit.needs.update(needs)
        unit.uses = uses
        # The blob stays for as long as the unit is known, that is, as what it defines lives.
        owner = ("code", id(unit))
        self.blobs.own(ref.digest, owner)
        for part in _parts_of(code):
            self.blobs.own(part, owner)
        weakref.finalize(unit, self.blobs.release, owner).atexit = False
        self._units[ref.digest] = unit
        for index, member in enumerate(members):
            reference = weakref.ref(member, self._forgetter(id(member), ref.digest))
            unit.members.append(reference)
            self._known[id(member)] = Known(reference, unit, index, 0 if arrived else self._round, arrived=arrived)
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
                for part in _parts_of(text):
                    self.blobs.own(part, None)
            except KeyError:
                message = f"code {digest.hex()[-12:]} did not arrive with the value that needs it"
                raise pickle.UnpicklingError(message) from None
            members, needs = self._load(text)
            self._keep(members, text, needs, [], arrived=True, digest=digest)
            self._remember(members, sum(ref.size for ref in needs.values()))
            return members[index]

    def _remember(self, members: Any, size: int) -> None:
        """Let what arrived stay: the next call of a function is seldom the last."""
        recent = self._recent
        recent.append((members, size))
        self._recent_bytes += size
        while len(recent) > 1 and (len(recent) > _KEPT_UNITS or self._recent_bytes > _KEPT_BYTES):
            self._recent_bytes -= recent.popleft()[1]

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
        """Return what a module of a bundle defines.

        The process that made the bundle has the module itself.
        """
        own = self._own_bundle
        if own is not None and own.digest == digest:
            __import__(module_name)
            found: Any = sys.modules[module_name]
        else:
            found = self.bundle(digest).load(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
        return found


def _parts_of(text: bytes | memoryview) -> list[bytes]:
    """Return the names of the large buffers of a unit."""
    return [part[0] for part in msgpack.unpackb(text[1:])[0]] if text[:1] == _PARTED else []


def _full_name(value: Any) -> tuple[str, str]:
    return value.__module__, getattr(value, "__qualname__", value.__name__)
