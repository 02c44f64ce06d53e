"""`concurrent config`: show the settings in force, write a first file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.fields import ConfigurationFailure, aligned, configuration_errors
from concurro.cli.printing import examples, json_option, print_json
from concurro.config import default_file, list_options
from concurro.config.listing import to_toml
from concurro.config.sources import FILE_NAME
from concurro.kernel import Environment

if TYPE_CHECKING:
    from concurro.config import OptionRow


@click.group("config", epilog=examples("concurrent config show --origin", "concurrent config init"))
def config_group() -> None:
    """Show the settings in force, or write a first file."""


@config_group.command("show", epilog=examples("concurrent config show --origin"))
@click.option("--config", "config_path", metavar="PATH", help="A concurrent.toml, or the folder that holds it.")
@click.option("--origin", is_flag=True, help="Also print where each value comes from.")
@json_option
def show_config(config_path: str | None, *, origin: bool, as_json: bool) -> None:
    """Print every option and its value."""
    with configuration_errors():
        environment = Environment(config_path)
        rows = list_options(environment.config, environment.option_tables())
        file = environment.config.file
    if as_json:
        options = {row.key: _record(row) for row in rows}
        print_json({"file": str(file or ""), "options": options})
    elif origin:
        for line in aligned([(f"{row.key} = {to_toml(row.value)}", row.origin) for row in rows]):
            click.echo(line)
    else:
        for row in rows:
            click.echo(f"{row.key} = {to_toml(row.value)}")


@config_group.command("init", epilog=examples("concurrent config init", "concurrent config init ~/.config/concurrent"))
@click.argument("path", default=FILE_NAME, type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite a file that exists.")
def init_config(path: Path, *, force: bool) -> None:
    """Write a commented file with every default to PATH, a file or folder."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(default_file(Environment({}).option_tables()))
    except FileExistsError:
        message = f"{file} exists; --force overwrites it"
        raise ConfigurationFailure(message) from None
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}"
        raise ConfigurationFailure(message) from None
    click.echo(f"wrote {file}", err=True)


def _record(row: OptionRow) -> dict[str, Any]:
    value = str(row.value) if isinstance(row.value, Path) else row.value
    return {"value": value, "origin": row.origin, "default": row.default, "documentation": row.documentation}
