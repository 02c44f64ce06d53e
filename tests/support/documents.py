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
        caption: The file's name that it is shown with; empty when it has none.
    """

    language: str
    text: str
    where: str
    caption: str = ""

    @property
    def page(self) -> str:
        """The path of the document."""
        return self.where.rpartition(":")[0]


def blocks(language: str) -> list[Block]:
    """Return every block of a language, document by document."""
    return [block for path in DOCUMENTS for block in _blocks_of(path) if block.language == language]


def shown_output(page: str, typed: str) -> str | None:
    """Return what a document shows as the output of a command; None when it shows no such command."""
    for block in blocks("console"):
        before, found, after = block.text.partition(f"$ {typed}\n")
        if block.page == page and found and not before:
            return after.partition("$ ")[0]
    return None


def _blocks_of(path: Path) -> list[Block]:
    lines = path.read_text(encoding="utf-8").splitlines()
    found = []
    for number, line in enumerate(lines):
        directive, _, language = line.strip().partition(":: ")
        if directive != ".. code-block":
            continue
        depth = len(line) - len(line.lstrip())
        body = []
        caption = ""
        for follower in lines[number + 1 :]:
            if follower.strip() and len(follower) - len(follower.lstrip()) <= depth:
                break
            if not body and follower.strip().startswith(":caption: "):
                caption = follower.strip().removeprefix(":caption: ")
            if body or (follower.strip() and not follower.strip().startswith(":")):
                body.append(follower)
        text = textwrap.dedent("\n".join(body)).strip() + "\n"
        found.append(Block(language, text, f"{path.relative_to(ROOT)}:{number + 1}", caption))
    return found
