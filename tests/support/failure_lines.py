"""The lines of `tests/failures.toml`, and the tests that belong to each by their names."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
NUMBERED = re.compile(r"test_f(\d+)_\w")


@dataclass(frozen=True, slots=True)
class FailureLine:
    """What may break, and what follows.

    Attributes:
        number: Of the line; tests are named after it.
        group: Where it breaks.
        what: What happens.
        promise: Which promises hold, e.g. P2.
        seen: What the user sees.
        test: Name of the test that shows the line as it is written.
    """

    number: int
    group: str
    what: str
    promise: tuple[str, ...]
    seen: str
    test: str


@dataclass(frozen=True, slots=True)
class NumberedTest:
    """A test that is named after a line.

    Attributes:
        number: Of the line.
        name: Of the test.
        place: Its file, from the root of the repository.
        slow: Whether it, or a case of it, is in the slow suite.
    """

    number: int
    name: str
    place: str
    slow: bool


def failure_lines() -> list[FailureLine]:
    """Return the lines in their order."""
    with (TESTS / "failures.toml").open("rb") as file:
        entries = tomllib.load(file)["line"]
    return [FailureLine(**{**entry, "promise": tuple(entry["promise"])}) for entry in entries]


def numbered_tests() -> list[NumberedTest]:
    """Return every test that is named after a line, by file and position."""
    return [test for path in sorted(TESTS.rglob("test_*.py")) for test in _tests_in(path)]


def _tests_in(path: Path) -> Iterator[NumberedTest]:
    place = str(path.relative_to(TESTS.parent))
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and (found := NUMBERED.match(node.name)):
            slow = any("mark.slow" in ast.unparse(decorator) for decorator in node.decorator_list)
            yield NumberedTest(int(found[1]), node.name, place, slow)
