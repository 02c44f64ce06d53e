"""What the pickles of travelling code call where they arrive.

A pickle can only call importable functions. The first ones here are such functions. The
placeholders stand for methods of the loader (`wire/code.py`), which knows the blobs and what
was rebuilt before; a plain `pickle.loads` that meets one says so.
"""

from __future__ import annotations

from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, NoReturn

from cloudpickle import cloudpickle

from concurro.kernel.declarations import build_interface, declare


def make_function(code: CodeType, namespace: dict[str, Any], closure: tuple[CellType, ...] | None) -> FunctionType:
    """Return a function with these globals; `set_function` does the rest."""
    return FunctionType(code, namespace, None, None, closure)


def set_function(function: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Give a rebuilt function its attributes, closure and globals."""
    attributes, slots = state
    function.__dict__.update(attributes)
    function.__globals__.update(slots.pop("__globals__"))
    for own, arrived in zip(function.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        try:
            own.cell_contents = arrived.cell_contents
        except ValueError:  # the cell was empty
            continue
    # Their only purpose was to be loaded, and so to be imported.
    slots.pop("_cloudpickle_submodules", None)
    slots.pop("imports", None)
    for name, value in slots.items():
        setattr(function, name, value)


def set_class(cls: type, state: tuple[Any, tuple[Any, ...]]) -> None:
    """Give a rebuilt class its attributes, then declare its interfaces again."""
    attributes, interfaces = state
    cloudpickle._class_setstate(cls, attributes)  # noqa: SLF001 - the counterpart of what built the state
    declare(cls, interfaces)


def make_interface(name: str, module: str, doc: str, bases: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    """Return an interface that travelled by value."""
    return build_interface(name, module, doc, bases, attributes)


def set_module(module: ModuleType, state: dict[str, Any]) -> None:
    """Give a rebuilt module those of its globals that are used."""
    module.__dict__.update(state)


def code_unit(digest: bytes, index: int, code: bytes | None = None) -> NoReturn:
    """Stand for `CodeTable.member`."""
    _refuse(digest, index, code)


def unit_namespace(ordinal: int, basics: dict[str, Any], bundle: bytes | None) -> NoReturn:
    """Stand for `Loader`'s namespaces: the globals of a module's functions."""
    _refuse(ordinal, basics, bundle)


def unit_module(ordinal: int, basics: dict[str, Any], bundle: bytes | None) -> NoReturn:
    """Stand for `Loader`'s modules, which have what is used of them."""
    _refuse(ordinal, basics, bundle)


def from_source(bundle: bytes, module: str, qualname: str) -> NoReturn:
    """Stand for `CodeTable.from_source`: what a bundle's module defines."""
    _refuse(bundle, module, qualname)


def _refuse(*_: object) -> NoReturn:
    message = "this pickle carries code by digest; only the Packer of wire/payload.py can load it"
    raise TypeError(message)
