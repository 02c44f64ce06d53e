"""Read `concurrent.toml`, the environment and the command line.

The names are imported when they are first asked for: a worker needs to read sizes and nothing
else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurro.config.addresses import Address, parse_address
    from concurro.config.configuration import Config
    from concurro.config.core_options import CORE_TABLES
    from concurro.config.listing import OptionRow, default_file, list_options
    from concurro.config.options import (
        AddressOption,
        BoolOption,
        DurationOption,
        FloatOption,
        IntOption,
        ListOption,
        Option,
        PathOption,
        SizeOption,
        StrOption,
        TableOption,
    )

_LATER = {
    "CORE_TABLES": "core_options",
    "Address": "addresses",
    "AddressOption": "options",
    "BoolOption": "options",
    "Config": "configuration",
    "DurationOption": "options",
    "FloatOption": "options",
    "IntOption": "options",
    "ListOption": "options",
    "Option": "options",
    "OptionRow": "listing",
    "PathOption": "options",
    "SizeOption": "options",
    "StrOption": "options",
    "TableOption": "options",
    "default_file": "listing",
    "list_options": "listing",
    "parse_address": "addresses",
}

__all__ = [
    "CORE_TABLES",
    "Address",
    "AddressOption",
    "BoolOption",
    "Config",
    "DurationOption",
    "FloatOption",
    "IntOption",
    "ListOption",
    "Option",
    "OptionRow",
    "PathOption",
    "SizeOption",
    "StrOption",
    "TableOption",
    "default_file",
    "list_options",
    "parse_address",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    if name not in _LATER:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return value
