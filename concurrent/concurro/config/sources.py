"""Find and read what configures a program: files, mappings, variables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from concurro.config.toml_lines import key_lines, line_of
from concurro.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME: Final = "concurrent.toml"
PLUGINS_FOLDER: Final = "plugins"
VARIABLE_PREFIX: Final = "CONCURRENT_"
SYSTEM_FOLDER: Final = Path("/etc/concurrent")
MAPPING_ORIGIN: Final = "the given mapping"

_LINE_IN_MESSAGE = re.compile(r"\(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value that somebody set.

    Attributes:
        value: As it was written.
        origin: Who wrote it, e.g. `/home/me/concurrent.toml:14`.
        folder: Where relative paths start; None for the working directory.
        is_text: Whether it is a text to be parsed (environment, command line).
    """

    value: object
    origin: str
    folder: Path | None = None
    is_text: bool = False


class Table(dict[str, Setting]):
    """The settings of a table by key, and where the table begins.

    Attributes:
        origin: As in `Setting`.
    """

    def __init__(self, origin: str, settings: Mapping[str, Setting] | None = None) -> None:
        super().__init__(settings or {})
        self.origin = origin


Tables: TypeAlias = dict[str, Table]


def user_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's configuration folder, which need not exist."""
    base = environ.get("XDG_CONFIG_HOME") or ""
    # The specification says to ignore a relative XDG_CONFIG_HOME.
    parent = Path(base) if Path(base).is_absolute() else Path(environ.get("HOME") or Path.home()) / ".config"
    return parent / "concurrent"


def search_file(environ: Mapping[str, str]) -> Path | None:
    """Return the first file found: working directory, user's folder, `/etc`."""
    for folder in (Path.cwd(), user_folder(environ), SYSTEM_FOLDER):
        path = folder / FILE_NAME
        if path.is_file():
            return path
    return None


def named_file(path: Path) -> Path:
    """Return the file that a path names: itself, or the one in that folder.

    Raises:
        ConfigError: There is no such file.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        reason = f"the folder has no {FILE_NAME}" if path.is_dir() else "there is no such file"
        raise ConfigError(reason, str(path))
    return file.absolute()


def read_file(path: Path) -> Tables:
    """Return the settings of a file by table and key.

    Raises:
        ConfigError: It cannot be read, is no TOML, or has a key outside of a table.
    """
    import tomllib  # noqa: PLC0415 - most processes read no file

    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE_IN_MESSAGE.search(str(error))
        where = f"{path}:{found[1]}" if found else str(path)
        message = f"not TOML: {error}"
        raise ConfigError(message, where) from None
    except (OSError, UnicodeDecodeError) as error:
        message = f"cannot be read: {error}"
        raise ConfigError(message, str(path)) from error
    lines = key_lines(text)

    def origin(*keys: str) -> str:
        line = line_of(lines, keys)
        return str(path) if line is None else f"{path}:{line}"

    tables: Tables = {}
    for table, entries in document.items():
        if not isinstance(entries, dict):
            message = f"{table!r} stands outside of a table; put it below one, like [master]"
            raise ConfigError(message, origin(table))
        settings = {
            key: Setting(value, origin(table, key), path.parent) for key, value in flat_globs(table, entries).items()
        }
        tables[table] = Table(origin(table), settings)
    return tables


def read_mapping(mapping: Mapping[str, object], origin: str, *, is_text: bool = False) -> Tables:
    """Return the settings of a nested mapping, whose keys may be dotted.

    Args:
        mapping: `{"master": {"listen": ...}}`, or `{"master.listen": ...}`.
        origin: Who gave it.
        is_text: Whether values that are texts are to be parsed, as on a command line.

    Raises:
        ConfigError: A key is neither a table nor dotted.
    """
    tables: Tables = {}
    for name, value in mapping.items():
        table, dot, key = name.partition(".")
        if dot:
            entries: Mapping[str, object] = {key: value}
        elif isinstance(value, dict):
            entries = flat_globs(table, value)
        else:
            message = f"{name!r} is not a table; write it like 'master.listen' or as a nested mapping"
            raise ConfigError(message, origin)
        kept = {
            key: Setting(entry, origin, is_text=is_text and isinstance(entry, str)) for key, entry in entries.items()
        }
        tables.setdefault(table, Table(origin)).update(kept)
    return tables


def flat_globs(table: str, entries: Mapping[str, object]) -> dict[str, object]:
    """Return `[components]` with dotted globs although they were not quoted."""
    flat: dict[str, object] = {}
    for key, value in entries.items():
        if table == "components" and isinstance(value, dict):
            flat.update({f"{key}.{rest}": leaf for rest, leaf in flat_globs(table, value).items()})
        else:
            flat[key] = value
    return flat


def variable_name(table: str, key: str) -> str:
    """Return the environment variable of an option."""
    return VARIABLE_PREFIX + f"{table}_{key}".replace("-", "_").replace(".", "_").upper()


def variables_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that may be options."""
    return {name: value for name, value in environ.items() if name.startswith(VARIABLE_PREFIX)}
