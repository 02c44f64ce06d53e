"""Compare a method with what its interface declares.

zope's own check counts arguments. A caller also needs their names, their defaults,
what is keyword-only and whether to await; zope keeps the last two nowhere, so they
are read from the interface's source.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from zope.interface.interface import Method

_UNKNOWN = object()  # a default that is no literal


@dataclass(frozen=True, slots=True)
class Shape:
    """How a method may be called, according to its interface.

    Attributes:
        positional: Names of the arguments, in order.
        defaults: Default by name, for those that have one.
        keyword_only: Names of keyword-only arguments.
        varargs: Whether it takes any number of arguments by position.
        varkeywords: Whether it takes any arguments by name.
        is_coroutine: Whether its callers await it.
    """

    positional: tuple[str, ...]
    defaults: Mapping[str, object] = field(default_factory=dict)
    keyword_only: tuple[str, ...] = ()
    varargs: bool = False
    varkeywords: bool = False
    is_coroutine: bool = False

    def __str__(self) -> str:
        """Return the arguments as an interface writes them."""
        parts = [self._argument(name) for name in self.positional]
        parts += ["*args"] if self.varargs else ["*"] if self.keyword_only else []
        parts += [self._argument(name) for name in self.keyword_only]
        parts += ["**kwargs"] if self.varkeywords else []
        return f"({', '.join(parts)})"

    def _argument(self, name: str) -> str:
        if name not in self.defaults:
            return name
        default = self.defaults[name]
        return f"{name}=..." if default is _UNKNOWN else f"{name}={default!r}"


def declared_shape(method: Method) -> Shape:
    """Return how the interface of a method declares it."""
    signature = method.getSignatureInfo()  # type: ignore[no-untyped-call]
    module = sys.modules.get(method.interface.__module__)
    file = getattr(module, "__file__", None)
    written = _written_shapes(file, method.interface.__name__, method.__name__) if file else ()
    for shape in written:
        if shape.positional == tuple(signature["positional"]):
            return shape
    return Shape(
        tuple(signature["positional"]),
        dict(signature["optional"]),
        varargs=bool(signature["varargs"]),
        varkeywords=bool(signature["kwargs"]),
    )


def signature_faults(shape: Shape, implementation: Callable[..., Any], *, drop_first: bool) -> list[str]:
    """Return what a caller who reads only the interface would stumble over.

    Args:
        shape: What the interface declares.
        implementation: The method or function.
        drop_first: Whether its first argument is the instance.
    """
    faults = _coroutine_faults(shape, implementation)
    try:
        parameters = list(inspect.signature(implementation).parameters.values())
    except (TypeError, ValueError):
        return faults  # implemented in C without a signature: nothing to compare
    if drop_first and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        parameters = parameters[1:]
    implemented = _Implemented.of(parameters)
    for index, name in enumerate(shape.positional):
        fault = implemented.positional_fault(index, name)
        if fault:
            faults.append(fault)
    faults += [
        f"keyword-only argument {name!r} is missing" for name in shape.keyword_only if not implemented.takes_name(name)
    ]
    faults += _default_faults(shape, implemented.by_name)
    faults += _surplus_faults(shape, implemented)
    if shape.varargs and not implemented.varargs:
        faults.append("it takes no further arguments by position (*args)")
    if shape.varkeywords and not implemented.varkeywords:
        faults.append("it takes no further arguments by name (**kwargs)")
    return faults


@dataclass(frozen=True, slots=True)
class _Implemented:
    """The parameters of an implementation, sorted by how they may be given."""

    by_name: Mapping[str, inspect.Parameter]
    positional: list[inspect.Parameter]
    keyword_only: list[inspect.Parameter]
    varargs: bool
    varkeywords: bool

    @classmethod
    def of(cls, parameters: list[inspect.Parameter]) -> _Implemented:
        return cls(
            {p.name: p for p in parameters},
            [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)],
            [p for p in parameters if p.kind is p.KEYWORD_ONLY],
            any(p.kind is p.VAR_POSITIONAL for p in parameters),
            any(p.kind is p.VAR_KEYWORD for p in parameters),
        )

    def takes_name(self, name: str) -> bool:
        parameter = self.by_name.get(name)
        return self.varkeywords or (parameter is not None and parameter.kind is not parameter.POSITIONAL_ONLY)

    def positional_fault(self, index: int, name: str) -> str:
        """Return what is wrong with a positional argument; empty if nothing."""
        if index < len(self.positional) and self.positional[index].name != name:
            return f"argument {index + 1} is called {self.positional[index].name!r} instead of {name!r}"
        if index >= len(self.positional) and any(p.name == name for p in self.keyword_only):
            return f"argument {name!r} is keyword-only, callers may give it by position"
        if index >= len(self.positional) and not self.varargs:
            return f"argument {name!r} is missing"
        if not self.takes_name(name):
            return f"argument {name!r} cannot be given by name"
        return ""


def _coroutine_faults(shape: Shape, implementation: Callable[..., Any]) -> list[str]:
    function = inspect.unwrap(implementation)
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if is_coroutine and not shape.is_coroutine:
        return ["it is a coroutine (async def), its callers do not await it"]
    if shape.is_coroutine and not is_coroutine:
        return ["it is a plain method, its callers await it (async def)"]
    return []


def _default_faults(shape: Shape, by_name: Mapping[str, inspect.Parameter]) -> list[str]:
    faults = []
    for name, default in shape.defaults.items():
        parameter = by_name.get(name)
        if parameter is None:
            continue  # missing, which was said, or taken by **kwargs
        if parameter.default is parameter.empty:
            faults.append(f"argument {name!r} has no default, callers may leave it out")
        elif default is not _UNKNOWN and (type(parameter.default), parameter.default) != (type(default), default):
            faults.append(f"argument {name!r} has the default {parameter.default!r} instead of {default!r}")
    return faults


def _surplus_faults(shape: Shape, implemented: _Implemented) -> list[str]:
    surplus = [] if shape.varargs else implemented.positional[len(shape.positional) :]
    surplus += [parameter for parameter in implemented.keyword_only if parameter.name not in shape.positional]
    return [
        f"argument {parameter.name!r} is required, callers do not know it"
        for parameter in surplus
        if parameter.default is parameter.empty and parameter.name not in shape.keyword_only
    ]


@functools.cache
def _classes_in(file: str) -> tuple[ast.ClassDef, ...]:
    """Return the classes that a source file defines, nested ones too."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


@functools.cache
def _written_shapes(file: str, interface: str, method: str) -> tuple[Shape, ...]:
    """Return what a source file says of every interface of that name."""
    return tuple(
        _shape(statement)
        for node in _classes_in(file)
        if node.name == interface
        for statement in node.body
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == method
    )


def _shape(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Shape:
    arguments = function.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    with_default = positional[len(positional) - len(arguments.defaults) :]
    defaults = dict(zip(with_default, map(_literal, arguments.defaults), strict=True))
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            defaults[argument.arg] = _literal(default)
    return Shape(
        tuple(positional),
        defaults,
        tuple(argument.arg for argument in arguments.kwonlyargs),
        varargs=arguments.vararg is not None,
        varkeywords=arguments.kwarg is not None,
        is_coroutine=isinstance(function, ast.AsyncFunctionDef),
    )


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return _UNKNOWN
