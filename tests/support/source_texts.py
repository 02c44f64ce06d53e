"""The texts in our source, with an ellipsis for each value that is put into them."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.support.programs import ROOT

_PERCENT = re.compile(r"%(?:\.\d+)?[a-z]")


@cache
def source_texts() -> frozenset[str]:
    """Return the texts of all modules, docstrings and those for `logging` among them."""
    files = [path for root in ("concurrent", "plugins") for path in sorted((ROOT / root).rglob("*.py"))]
    return frozenset(text for path in files for text in _texts_of(ast.parse(path.read_text(encoding="utf-8"))))


def _texts_of(tree: ast.AST) -> list[str]:
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
            texts.append("".join(parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(_PERCENT.sub("…", node.value))
    return texts
