"""Read `concurrent.toml`, the environment and the command line."""

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
