"""List options: for people, for the option reference, for a first file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from concurro.config.core_options import COMPONENTS_TABLE, CORE_TABLE_CLASSES, CORE_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from concurro.config.configuration import Config
    from concurro.config.options import Option

_FILE_HEAD = """\
# Options of Concurrent. What is commented out is the default.
# Precedence: command line, environment (CONCURRENT_MASTER_LISTEN for
# master.listen), this file, default.
"""


@dataclass(frozen=True, slots=True)
class OptionRow:
    """One option as listed.

    Attributes:
        key: `table.key`.
        value: The value in force.
        origin: Where it comes from.
        kind: What a file writes, e.g. `duration`.
        default: The default, written as in a file.
        documentation: The option's text.
    """

    key: str
    value: object
    origin: str
    kind: str
    default: object
    documentation: str


def list_options(
    config: Config, component_tables: Mapping[str, Mapping[str, Option[Any]]] | None = None
) -> list[OptionRow]:
    """Return every option with its value and where it came from.

    Args:
        config: The settings in force.
        component_tables: Options of components by table and key; the core's always come first.

    Raises:
        ConfigError: A value in force is not one that its option allows.
    """
    rows = [
        OptionRow(
            f"{table}.{key}",
            config.value(table, option),
            config.origin(f"{table}.{key}"),
            option.kind,
            option.default,
            option.documentation,
        )
        for table, options in {**CORE_TABLES, **(component_tables or {})}.items()
        for key, option in options.items()
    ]
    globs = [
        OptionRow(
            f"{COMPONENTS_TABLE}.{glob}",
            enabled,
            config.origin(f"{COMPONENTS_TABLE}.{glob}"),
            "boolean",
            "",
            "A glob on module.Class.",
        )
        for glob, enabled in config.table(COMPONENTS_TABLE).items()
    ]
    return globs + rows


def default_file(component_tables: Mapping[str, Mapping[str, Option[Any]]] | None = None) -> str:
    """Return a commented `concurrent.toml` that sets nothing."""
    parts = [_FILE_HEAD]
    for table, options in {**CORE_TABLES, **(component_tables or {})}.items():
        declaration = CORE_TABLE_CLASSES.get(table)
        text = (declaration.__doc__ or "") if declaration else ""
        parts.extend(f"# {line.strip()}".rstrip() for line in text.strip().splitlines())
        parts.append(f"[{table}]")
        if table == COMPONENTS_TABLE:
            parts.append('# "some_package.*" = true')
        for key, option in options.items():
            parts.append(f"# {option.documentation}")
            parts.append(f"# {key} = {to_toml(option.default)}")
        parts.append("")
    return "\n".join(parts)


def to_toml(value: object) -> str:
    """Return a value as a TOML file writes it."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(to_toml(entry) for entry in value)}]"
    if isinstance(value, dict):
        entries = ", ".join(f"{to_toml_key(name)} = {to_toml(entry)}" for name, entry in value.items())
        return f"{{ {entries} }}" if entries else "{}"
    if isinstance(value, str | PurePath):
        return _quoted(str(value))
    message = f"{type(value).__name__} has no form in TOML"
    raise TypeError(message)


def to_toml_key(name: str) -> str:
    """Return a key, quoted where it must be."""
    bare = name and all(character.isascii() and (character.isalnum() or character in "-_") for character in name)
    return name if bare else _quoted(name)


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but TOML wants one for the delete character as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
