"""Config: the settings in force, and where each came from.

command line  >  environment variable  >  file or mapping  >  default
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from concurro.config.core_options import COMPONENTS_TABLE, CORE_TABLES
from concurro.config.sources import (
    MAPPING_ORIGIN,
    PLUGINS_FOLDER,
    Setting,
    Table,
    Tables,
    named_file,
    read_file,
    read_mapping,
    search_file,
    user_folder,
    variable_name,
    variables_in,
)
from concurro.config.spelling import did_you_mean
from concurro.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

    from concurro.config.options import Option

T = TypeVar("T")

COMMAND_LINE_ORIGIN: Final = "command line"
DEFAULT_ORIGIN: Final = "default"
_PLAIN_MARK: Final = "concurrent-config"
_NOTHING: Final[Mapping[str, Setting]] = {}


class Config:
    """The settings in force. Immutable, picklable, thread-safe.

    Made by `Config.load`. `config["master.listen"]` is a typed value.

    Attributes:
        file: The file in force; None without one.
        plugin_folders: Where files with components may lie; they need not exist.
    """

    def __init__(
        self,
        settings: Tables,
        overrides: Tables,
        variables: Mapping[str, str],
        file: Path | None = None,
        plugin_folders: tuple[Path, ...] = (),
    ) -> None:
        self._settings = settings
        self._overrides = overrides
        self._variables = dict(variables)
        self.file = file
        self.plugin_folders = plugin_folders
        self._check_core()

    @classmethod
    def load(
        cls,
        config: str | os.PathLike[str] | Mapping[str, object] | Config | None = None,
        *,
        overrides: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Config:
        """Return the settings in force.

        Args:
            config: A file, a folder with a `concurrent.toml`, a mapping (nested or with
                dotted keys) in place of a file, a `Config`, what `to_plain` gave, or None:
                the first file found in the working directory, the user's configuration
                folder and `/etc/concurrent`.
            overrides: What the command line says; entries that are None are left out.
            environ: Environment variables; None for those of this process.

        Raises:
            ConfigError: Something there cannot be used.
            AddressError: An address is malformed.
        """
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        command_line = read_mapping(given, COMMAND_LINE_ORIGIN, is_text=True)
        if isinstance(config, Mapping) and _PLAIN_MARK in config:
            config = cls._from_plain(config)
        if isinstance(config, Config):
            if not command_line and environ is None:
                return config
            return config._with(command_line, environ)  # noqa: SLF001 - its own class
        environ = os.environ if environ is None else environ
        variables = variables_in(environ)
        folders = [user_folder(environ) / PLUGINS_FOLDER]
        if isinstance(config, Mapping):
            return cls(read_mapping(config, MAPPING_ORIGIN), command_line, variables, None, tuple(folders))
        if config is not None and not isinstance(config, str | os.PathLike):
            message = f"config must be a path, a mapping, a Config or None, got {config!r}"  # type: ignore[unreachable]
            raise ConfigError(message)
        file = search_file(environ) if config is None else named_file(Path(config))
        if file is None:
            return cls({}, command_line, variables, None, tuple(folders))
        beside = file.parent / PLUGINS_FOLDER
        if beside not in folders:
            folders.insert(0, beside)
        return cls(read_file(file), command_line, variables, file, tuple(folders))

    @classmethod
    def empty(cls) -> Config:
        """Return the defaults alone: no file, no environment."""
        return cls({}, {}, {})

    # Reading

    def __getitem__(self, key: str) -> Any:
        """Return the value of `table.key`, typed when it is an option of the core.

        Raises:
            ConfigError: There is no such option.
        """
        table, option_key = _split(key)
        if table in CORE_TABLES and table != COMPONENTS_TABLE:
            return self.value(table, self._core_option(table, option_key))
        setting = self._find(table, option_key)
        if setting is None:
            message = f"nothing sets {key!r}, and only its component knows a default"
            raise ConfigError(message, key)
        return setting.value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `table.key`, or `default`.

        The default is for keys of components that nothing sets; the core's options have their own.
        """
        table, option_key = _split(key)
        if table not in CORE_TABLES and self._find(table, option_key) is None:
            return default
        return self[key]

    def value(self, table: str, option: Option[T]) -> T:
        """Return the typed value of an option in a table.

        Raises:
            ConfigError: The value in force is not one that the option allows.
        """
        setting = self._find(table, option.name) or Setting(option.default, DEFAULT_ORIGIN)
        try:
            converted = option.parse(str(setting.value)) if setting.is_text else option.convert(setting.value)
        except ValueError as error:
            message = f"[{table}] {option.name} = {setting.value!r}: {error}"
            raise option.error(message, setting.origin) from None
        return option.anchor(converted, setting.folder)

    def origin(self, key: str) -> str:
        """Return where a value comes from.

        `file:line`, `environment VARIABLE`, `command line`, `the given mapping` or `default`.
        """
        setting = self._find(*_split(key))
        return DEFAULT_ORIGIN if setting is None else setting.origin

    def table(self, table: str) -> dict[str, object]:
        """Return what a file and the command line set in a table, as written."""
        return {
            key: setting.value
            for layer in (self._settings, self._overrides)
            for key, setting in layer.get(table, _NOTHING).items()
        }

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables in which something is set by a file or command line."""
        return tuple({**self._settings, **self._overrides})

    def check(self, known: Mapping[str, Collection[str] | None]) -> None:
        """Refuse tables and keys that nobody reads.

        Args:
            known: Keys by table, for the tables of components; None allows every key.

        Raises:
            ConfigError: With file, line and the closest name.
        """
        for layer in (self._settings, self._overrides):
            for table, settings in layer.items():
                if table not in CORE_TABLES and table not in known:
                    message = f"unknown table [{table}]{did_you_mean(table, [*CORE_TABLES, *known])}"
                    raise ConfigError(message, settings.origin)
                keys = known.get(table)
                if table in CORE_TABLES or keys is None:
                    continue
                for key, setting in settings.items():
                    if key not in keys:
                        message = f"unknown option {key!r} in [{table}]{did_you_mean(key, keys)}"
                        raise ConfigError(message, setting.origin)

    # Travelling

    def to_plain(self) -> dict[str, object]:
        """Return plain values; `load` makes an equal config of them elsewhere."""
        return {
            _PLAIN_MARK: 1,
            "settings": _plain(self._settings),
            "overrides": _plain(self._overrides),
            "variables": dict(self._variables),
            "file": "" if self.file is None else str(self.file),
            "plugin_folders": [str(folder) for folder in self.plugin_folders],
        }

    @classmethod
    def _from_plain(cls, plain: Mapping[str, Any]) -> Self:
        return cls(
            _from_plain_tables(plain["settings"]),
            _from_plain_tables(plain["overrides"]),
            plain["variables"],
            Path(plain["file"]) if plain["file"] else None,
            tuple(Path(folder) for folder in plain["plugin_folders"]),
        )

    # Inside

    def _with(self, command_line: Tables, environ: Mapping[str, str] | None) -> Self:
        return type(self)(
            self._settings,
            _merged(self._overrides, command_line),
            self._variables if environ is None else variables_in(environ),
            self.file,
            self.plugin_folders,
        )

    def _find(self, table: str, key: str) -> Setting | None:
        override = self._overrides.get(table, _NOTHING).get(key)
        if override is not None:
            return override
        variable = variable_name(table, key)
        if variable in self._variables:
            return Setting(self._variables[variable], f"environment {variable}", is_text=True)
        return self._settings.get(table, _NOTHING).get(key)

    def _core_option(self, table: str, key: str) -> Option[Any]:
        options = CORE_TABLES[table]
        if key not in options:
            setting = self._find(table, key)
            message = f"unknown option {key!r} in [{table}]{did_you_mean(key, options)}"
            raise ConfigError(message, setting.origin if setting else f"{table}.{key}")
        return options[key]

    def _check_core(self) -> None:
        """Refuse unknown and wrong settings of the core's tables."""
        for layer in (self._settings, self._overrides):
            for table, settings in layer.items():
                if table == COMPONENTS_TABLE:
                    _check_globs(settings)
                elif table in CORE_TABLES:
                    for key in settings:
                        self._core_option(table, key)
        for table, options in CORE_TABLES.items():
            for key, option in options.items():
                if self._find(table, key) is not None:
                    self.value(table, option)


def _check_globs(settings: Mapping[str, Setting]) -> None:
    for glob, setting in settings.items():
        if not isinstance(setting.value, bool):
            message = f"[{COMPONENTS_TABLE}] {glob!r} = {setting.value!r}: is not true or false"
            raise ConfigError(message, setting.origin)


def _split(key: str) -> tuple[str, str]:
    table, dot, option_key = key.partition(".")
    if not dot:
        message = f"{key!r} names no option; write it like 'master.listen'"
        raise ConfigError(message)
    return table, option_key


def _merged(below: Tables, above: Tables) -> Tables:
    merged: Tables = {}
    for layer in (below, above):
        for name, table in layer.items():
            merged.setdefault(name, Table(table.origin)).update(table)
    return merged


def _plain(tables: Tables) -> dict[str, list[object]]:
    return {name: [table.origin, {key: _plain_setting(table[key]) for key in table}] for name, table in tables.items()}


def _plain_setting(setting: Setting) -> list[object]:
    return [
        str(setting.value) if isinstance(setting.value, Path) else setting.value,
        setting.origin,
        "" if setting.folder is None else str(setting.folder),
        setting.is_text,
    ]


def _from_plain_tables(plain: Mapping[str, Any]) -> Tables:
    return {
        name: Table(
            origin,
            {
                key: Setting(value, setting_origin, Path(folder) if folder else None, is_text)
                for key, (value, setting_origin, folder, is_text) in settings.items()
            },
        )
        for name, (origin, settings) in plain.items()
    }
