"""The pages on failures quote messages that the programs say: word by word in the source, and from a run."""

from __future__ import annotations

import ast
import ctypes
import os
import re
import threading
import time
from functools import cache

import pytest

from concurro import ITaskSystem, LocalCluster, Task
from tests.support.documents import blocks
from tests.support.programs import ROOT

PAGES = "docs/failures/"
FORMAT = re.compile(r"%[-+0-9.]*[sdgrfx]|%%|\{[^{}]*\}")
WORD = re.compile(r"[A-Za-z]{2,}")
DIFFERS = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|tcp://\S+|(?<!\w)/[\w./-]+|north(-1)?|'[^']*'|\(Search\)|Search|Square|(dict|task\.lock)\b|_thread\.lock"
    r"|square-\d+ \(n=\d+\)"
    r"|\w+Error: (division by zero|no such key)|\(?TypeError: cannot pickle.*|invalid literal for int\(\) with base 10"
)
"""Names, ids, addresses, and what Python itself says."""

FEWEST_LETTERS = 6
"""Texts of fewer letters would be found anywhere."""

SHARE = 2 / 3
"""Of the words of a quoted line that do not differ each time."""


def quoted_lines() -> list[tuple[str, str]]:
    """Return every line that a page quotes as said by a program, with its place."""
    return [
        (block.where, line.strip())
        for block in blocks("text")
        if block.where.startswith(PAGES)
        for line in block.text.splitlines()
        if line.strip()
    ]


@cache
def said_in_source() -> list[list[str]]:
    """Return every text of the source as its fixed parts, in order."""
    texts = set()
    for path in (ROOT / "concurrent" / "concurro").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.update(tuple(FORMAT.split(line)) for line in node.value.split("\n"))
            elif isinstance(node, ast.JoinedStr):
                parts = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                texts.update(tuple(line.split("{}")) for line in parts.split("\n"))
            elif isinstance(node, ast.ClassDef):
                texts.add((node.name,))
    cut = [[part for part in (parts[0].lstrip(" ,;:"), *parts[1:]) if part] for parts in texts]
    return [parts for parts in cut if len("".join(WORD.findall("".join(parts)))) >= FEWEST_LETTERS]


def is_said(line: str) -> tuple[bool, list[str]]:
    """Say whether texts of the source explain a line, and which of its words they do not."""
    said, differs = set(), set()
    for parts in said_in_source():
        if all(part in line for part in parts):
            match = re.search(".*?".join(f"({re.escape(part)})" for part in parts), line)
            for number in range(1, len(parts) + 1) if match else ():
                said.update(range(*match.span(number)))
    for match in DIFFERS.finditer(line):
        differs.update(range(*match.span()))
    words = [word for word in WORD.finditer(line) if differs.isdisjoint(range(*word.span()))]
    unknown = [word.group() for word in words if not said.issuperset(range(*word.span()))]
    return len(unknown) <= (1 - SHARE) * len(words), unknown


@pytest.mark.slow
@pytest.mark.parametrize(("where", "line"), quoted_lines(), ids=str)
def test_a_quoted_message_is_one_of_the_source(where: str, line: str):
    said, unknown = is_said(line)

    assert said, (where, unknown)


@pytest.mark.parametrize(
    "line",
    [
        "its worker perished, terminated by means of SIGSEGV",
        "no slave is there; start one with: concurrent-worker --master tcp://127.0.0.1:8081",
        "Completely other words stand here than anywhere in these programs",
    ],
)
def test_a_message_in_other_words_would_be_found(line: str):
    assert not is_said(line)[0]


def test_every_page_says_something():
    pages = {path.name for path in (ROOT / PAGES).glob("*.rst")} - {"index.rst", "clock.rst"}

    assert {where.removeprefix(PAGES).partition(":")[0] for where, _ in quoted_lines()} == pages


class Square(Task):
    """Fails in one of several ways."""

    def __init__(self, number: int, how: str, **fields: object) -> None:
        super().__init__(f"square-{number}", **fields)
        self.how = how

    def __call__(self) -> object:
        if self.how == "raise":
            return 1 / 0
        if self.how == "import":
            import solver

            return solver
        if self.how == "lock":
            return {"parts": [1, threading.Lock()]}
        if self.how == "exit":
            os._exit(0)
        if self.how == "crash":
            ctypes.string_at(0)
        time.sleep(60)
        return None


class Search(ITaskSystem):
    """Collects what its tasks fail with."""

    ways = ("raise", "import", "lock", "exit", "crash", "long")

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def generate_tasks(self, master):
        for number, how in enumerate(self.ways):
            yield Square(number, how, timeout=0.3 if how == "long" else None, max_retries=0)

    def task_finished(self, master, task, result, error):
        self.errors.append(str(error).partition("\n")[0])

    def is_complete(self, master):
        return len(self.errors) == len(self.ways)

    def gather_result(self, master):
        return self.errors, None


def normal(line: str) -> str:
    """Return a message without what differs from run to run."""
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", line)
    line = re.sub(r"slave \S+?-\d+", "slave NAME", line)
    line = re.sub(r"\((n|how)=\S+\)", "(ATTRIBUTES)", line)
    return re.sub(r"\d+(\.\d+)?", "N", line)


@pytest.mark.slow
def test_what_tasks_fail_with_is_what_the_pages_say():
    with LocalCluster(workers=2) as cluster:
        said = [normal(line) for line in cluster.run(Search(), timeout=60)]

    quoted = [normal(line) for _, line in quoted_lines()]
    missing = [line for line in said if not any(line == one or line.endswith(f": {one}") for one in quoted)]
    assert missing == []
