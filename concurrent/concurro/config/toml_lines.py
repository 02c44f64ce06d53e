"""Find the lines of keys in a TOML text: the standard reader tells none."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n"
    r"|[][{}=.,]"
    r"|[^\s\"'\#\[\]{}=,.]+",
    re.DOTALL,
)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of every table header and key, counted from 1.

    Args:
        text: A valid TOML text. Keys inside inline tables are not listed; those have the
            line of the longest part that is.
    """
    lines: dict[tuple[str, ...], int] = {}
    line, depth, in_value = 1, 0, False
    header: tuple[str, ...] = ()
    statement: list[str] = []
    statement_line = 1
    for match in _TOKEN.finditer(f"{text}\n"):
        piece = match[0]
        if piece == "\n" and depth == 0:
            if statement:
                path = _key_path(statement)
                if statement[0] == "[":
                    header = path
                    lines.setdefault(header, statement_line)
                else:
                    lines.setdefault(header + path, statement_line)
            statement, in_value = [], False
        elif in_value:
            depth += (piece in "[{") - (piece in "]}") if len(piece) == 1 else 0
        elif piece == "=":
            in_value = True
        elif not piece.startswith("#"):
            if not statement:
                statement_line = line
            statement.append(piece)
        line += piece.count("\n")
    return lines


def line_of(lines: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int | None:
    """Return the line of a key, or of what it stands in."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


def _key_path(statement: list[str]) -> tuple[str, ...]:
    return tuple(piece[1:-1] if piece[0] in "\"'" else piece for piece in statement if piece not in ("[", "]", "."))
