"""Read the blocks out of the README and the documentation."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst"))]


@dataclass(frozen=True, slots=True)
class Block:
    """A `code-block` of a document.

    Attributes:
        language: What the directive says.
        text: The block, without its indentation.
        where: Path and line, for messages.
    """

    language: str
    text: str
    where: str


def blocks(language: str) -> list[Block]:
    """Return every block of a language, document by document."""
    return [block for path in DOCUMENTS for block in _blocks_of(path) if block.language == language]


def _blocks_of(path: Path) -> list[Block]:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines):
        directive, _, language = line.strip().partition(":: ")
        if directive != ".. code-block":
            continue
        depth = len(line) - len(line.lstrip())
        body = []
        for follower in lines[number + 1 :]:
            if follower.strip() and len(follower) - len(follower.lstrip()) <= depth:
                break
            if body or (follower.strip() and not follower.strip().startswith(":")):
                body.append(follower)
        text = textwrap.dedent("\n".join(body)).strip() + "\n"
        found.append(Block(language, text, f"{path.relative_to(ROOT)}:{number + 1}"))
    return found
