"""Make the reference from the code: options, components, commands and names.

Four directives, each without arguments: `concurrent-options`, `concurrent-components`,
`concurrent-commands` and `concurrent-names`. They run when the documentation is built,
so the reference cannot lag behind.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from pkgutil import iter_modules
from typing import TYPE_CHECKING

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.util.nodes import nested_parse_with_titles

import concurro
from concurro import Environment
from concurro.config.core_options import CORE_TABLE_CLASSES, CORE_TABLES
from concurro.config.listing import to_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx

PROGRAMS = ("concurrent", "concurrent-master", "concurrent-slave")


def option_lines() -> Iterator[str]:
    """Yield the reference of every option, table by table."""
    component_tables = Environment({}).option_tables()
    for table, options in {**CORE_TABLES, **component_tables}.items():
        yield from _heading(f"[{table}]", "-")
        if table in CORE_TABLE_CLASSES:
            yield from _prose(CORE_TABLE_CLASSES[table].__doc__)
        elif not options:
            yield from _prose("No options.")
        for name, option in options.items():
            yield f"``{table}.{name}`` ({option.kind}, default ``{to_toml(option.default)}``)"
            yield from _indented(_as_rst(option.documentation))
            if option.choices:
                yield from _indented("One of " + ", ".join(f"``{choice}``" for choice in option.choices) + ".")
            variable = f"CONCURRENT_{table}_{name}".upper().replace("-", "_")
            yield from _indented(f"Environment variable ``{variable}``.")


def component_lines() -> Iterator[str]:
    """Yield the components that come with Concurrent, by interface."""
    environment = Environment({})
    offers = [offer for offer in environment.offers() if offer.source == "built-in" and offer.interface is not None]
    for interface in sorted({offer.interface_name for offer in offers}):
        yield from _heading(interface, "-")
        for offer in offers:
            if offer.interface_name == interface:
                factory = environment.factory(offer.interface, offer.name)
                yield f"``{offer.name}`` (``{offer.factory}``)"
                yield from _indented(_as_rst(_first_paragraph(factory)))


def command_lines() -> Iterator[str]:
    """Yield the reference of every command, from click's own tree."""
    commands = _click_commands()
    for program in PROGRAMS:
        yield from _command(commands[program], click.Context(commands[program], info_name=program), "-")


def name_lines() -> Iterator[str]:
    """Yield every public name with its signature and its documentation."""
    for name in sorted(concurro.__all__, key=str.lower):
        value = getattr(concurro, name)
        yield from _heading(name, "-")
        yield from _literal(f"{name}{_signature(value)}\n\n{inspect.getdoc(value) or ''}".strip())
        for method, text in _interface_methods(value):
            yield from _literal(f"{method}\n{textwrap.indent(text, '    ')}")


def _click_commands() -> dict[str, click.Command]:
    """Return the click command of every program, wherever the command line keeps it."""
    package = importlib.import_module("concurro.cli")
    modules = [importlib.import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, click.Command)]
    return {command.name: command for command in found if command.name in PROGRAMS}


def _command(command: click.Command, context: click.Context, underline: str) -> Iterator[str]:
    yield from _heading(context.command_path, underline)
    yield from _literal(command.get_help(context))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, click.Context(child, info_name=name, parent=context), "~")


def _signature(value: object) -> str:
    if isinstance(value, type) and issubclass(value, BaseException):
        return ""
    try:
        return str(inspect.signature(value)) if callable(value) else ""
    except (TypeError, ValueError):
        return ""


def _interface_methods(value: object) -> Iterator[tuple[str, str]]:
    names = getattr(value, "names", None)
    if not isinstance(value, type(concurro.Interface)) or names is None:
        return
    for name in sorted(names()):
        description = value[name]
        signature = getattr(description, "getSignatureString", str)
        yield f"{name}{signature() if signature is not str else ''}", inspect.cleandoc(description.__doc__ or "")


def _first_paragraph(value: object) -> str:
    return (inspect.getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")


def _as_rst(text: str) -> str:
    """Return a docstring's text with its single backticks doubled."""
    return text.replace("``", "`").replace("`", "``")


def _heading(text: str, underline: str) -> Iterator[str]:
    yield from ("", text, underline * len(text), "")


def _prose(text: str | None) -> Iterator[str]:
    yield from ("", *_as_rst(inspect.cleandoc(text or "")).splitlines(), "")


def _indented(text: str) -> Iterator[str]:
    yield from (f"    {line}" for line in text.splitlines())
    yield ""


def _literal(text: str) -> Iterator[str]:
    yield from ("", ".. code-block:: text", "", *(f"    {line}".rstrip() for line in text.splitlines()), "")


class _Generated(Directive):
    """Parse lines that a function of this module makes."""

    def lines(self) -> Iterable[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the parsed lines as sections."""
        container = nodes.section()
        container.document = self.state.document
        nested_parse_with_titles(
            self.state, StringList(list(self.lines()), "generated"), container, self.content_offset
        )
        return container.children


class _Options(_Generated):
    def lines(self) -> Iterable[str]:
        return option_lines()


class _Components(_Generated):
    def lines(self) -> Iterable[str]:
        return component_lines()


class _Commands(_Generated):
    def lines(self) -> Iterable[str]:
        return command_lines()


class _Names(_Generated):
    def lines(self) -> Iterable[str]:
        return name_lines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("concurrent-options", _Options)
    app.add_directive("concurrent-components", _Components)
    app.add_directive("concurrent-commands", _Commands)
    app.add_directive("concurrent-names", _Names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
