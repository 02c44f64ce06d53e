"""The source tree as the layout tests see it: modules, their syntax, their imports."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CORE = ROOT / "concurrent"
PLUGINS = ROOT / "plugins"
STANDARD_LIBRARY = sys.stdlib_module_names | {"__future__"}


@dataclass(frozen=True, slots=True)
class Module:
    """A source file.

    Attributes:
        name: Dotted name of the module; of a package without `.__init__`.
        path: Its file.
        is_package: Whether it is an `__init__.py`.
    """

    name: str
    path: Path
    is_package: bool

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parse(self.path)

    @property
    def where(self) -> str:
        """Its path from the root of the repository, for messages."""
        return str(self.path.relative_to(ROOT))


@dataclass(frozen=True, slots=True)
class Import:
    """One module that another one imports.

    Attributes:
        target: Dotted name of what is imported; for `from a import b` it is `a.b`.
        line: Line in the importing file.
        typing_only: Whether it stands under `if TYPE_CHECKING`.
        inside_function: Whether it runs only when a function is called.
    """

    target: str
    line: int
    typing_only: bool
    inside_function: bool

    @property
    def top(self) -> str:
        """The distribution's or the standard library's name for it."""
        return self.target.split(".", 1)[0]


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def modules_below(source_root: Path) -> list[Module]:
    """Return every module below a source root, in order."""
    return [_module_of(path, source_root) for path in python_files(source_root)]


def python_files(folder: Path) -> list[Path]:
    """Return every Python file below a folder, but those of caches and environments."""
    return sorted(
        path
        for path in folder.rglob("*.py")
        if not any(part.startswith((".", "__pycache__")) or part in {"build", "dist"} for part in _inner_parts(path))
    )


def _inner_parts(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).parts


def _module_of(path: Path, source_root: Path) -> Module:
    parts = list(path.relative_to(source_root).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    if is_package:
        parts.pop()
    return Module(".".join(parts), path, is_package)


def imports_of(module: Module) -> list[Import]:
    """Return every import of a module, also by `importlib.import_module("name")`."""
    return list(_walk(module.tree, module, typing_only=False, inside_function=False))


def _walk(node: ast.AST, module: Module, *, typing_only: bool, inside_function: bool) -> Iterator[Import]:
    for target, line in _targets(node, module):
        yield Import(target, line, typing_only, inside_function)
    for child in ast.iter_child_nodes(node):
        yield from _walk(
            child,
            module,
            typing_only=typing_only or (isinstance(node, ast.If) and _is_type_checking(node.test)),
            inside_function=inside_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda),
        )


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def _targets(node: ast.AST, module: Module) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, node.lineno
    elif isinstance(node, ast.ImportFrom):
        source = _absolute(node, module)
        for alias in node.names:
            yield f"{source}.{alias.name}", node.lineno
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"importlib.import_module", "import_module"}:
        argument = node.args[0] if node.args else None
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            yield argument.value, node.lineno


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    anchor = parts[: len(parts) - node.level + module.is_package]
    return ".".join([*anchor, *([node.module] if node.module else [])])
