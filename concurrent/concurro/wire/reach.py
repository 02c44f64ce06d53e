"""What code reaches: its imports, and the circles of classes."""

from __future__ import annotations

import dis
from importlib.util import resolve_name
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_IMPORT_NAME = dis.opmap["IMPORT_NAME"]


def nested_code(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and those of the functions and classes inside it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from nested_code(const)


def imports_of(code: CodeType, package: str) -> list[str]:
    """Return the modules that code imports, and what may be modules in them."""
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


def circles(reached: dict[int, list[int]]) -> list[list[int]]:
    """Return the strongly connected components, those that others need first.

    Source: R. Tarjan, Depth-first search and linear graph algorithms, SIAM J. Comput. 1 (1972).
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    placed: set[int] = set()
    circles: list[list[int]] = []
    for root, direct in reached.items():
        if root in order:
            continue
        path = [(root, iter(direct))]
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
