"""Make the reference from the code: options, components, commands, names and failures.

Five directives, each without arguments: `concurrent-options`, `concurrent-components`,
`concurrent-commands`, `concurrent-names` and `concurrent-failures`. They run when the
documentation is built, so the reference cannot lag behind.
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
from concurro.config.options import Option
from concurro.ids import ProgressRecord, ServiceWorker, SlaveView
from concurro.nodes.cluster import LocalSlave
from concurro.nodes.futures import TaskFuture
from concurro.nodes.partial_results import PartialResults
from concurro.records import SlaveRecord, SystemRecord, TaskClass, TaskRecord
from tests.support.failure_lines import failure_lines, numbered_tests

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx

PROGRAMS = ("concurrent", "concurrent-master", "concurrent-slave")

NAMES = {
    "Write jobs": ("Task", "TaskSystem", "ITaskSystem", "IMaster"),
    "Run jobs": (
        "LocalCluster",
        "ApplicationNode",
        "ClusterExecutor",
        "as_completed",
        "SystemHandle",
        "current_application",
        "when_application",
        "find_master",
    ),
    "Call services": ("ServiceProxy", "Parcel"),
    "Run nodes": ("MasterNode", "SlaveNode"),
    "Write components": (
        "Component",
        "Selected",
        "ExtensionPoint",
        "implementer",
        "Interface",
        "Attribute",
        "Environment",
        "Config",
        "BoolOption",
        "IntOption",
        "FloatOption",
        "StrOption",
        "ListOption",
        "PathOption",
        "AddressOption",
        "DurationOption",
        "SizeOption",
    ),
    "Write commands": ("master_options", "asked_master"),
    "Interfaces of components": (
        "ITaskScheduleStrategy",
        "ITaskScheduler",
        "ISchedulerHost",
        "ITaskManager",
        "ILifecycle",
        "IMasterService",
        "IMasterServiceHost",
        "IWorkerService",
        "IWorkerServiceHost",
        "IServicePeer",
        "ICommandGroup",
    ),
}
"""Every public name that is no error, under what it is for."""

GIVEN = (
    TaskFuture,
    PartialResults,
    ServiceWorker,
    ProgressRecord,
    SlaveView,
    LocalSlave,
    SlaveRecord,
    TaskRecord,
    TaskClass,
    SystemRecord,
)

INTERNAL = {
    "ApplicationNode": (
        "code",
        "refuse_to_wait",
        "request",
        "cancel_system",
        "cancel_task",
        "output_of",
        "push_call",
        "futures_of",
    ),
    "LocalCluster": ("application",),
    "ClusterExecutor": ("sharing",),
    "SystemHandle": (
        "describe",
        "refuse_to_wait",
        "wait_accepted",
        "acknowledge",
        "take_progress",
        "take_published",
        "take_end",
        "end_failed",
        "end_cancelled",
    ),
    "TaskFuture": ("describe", "refuse_to_wait", "withdraw", "end_withdrawn"),
    "MasterNode": ("fail", "use_launcher", "wait"),
    "SlaveNode": ("fail", "use_launcher", "wait"),
}
"""What only other modules of ours call: no promise to users, and not in the reference."""


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
        yield from _command(commands[program], _context(commands[program], program), "-")


def name_lines() -> Iterator[str]:
    """Yield every public name with its signature, its documentation and its methods, by what it is for."""
    for group, names in NAMES.items():
        yield from _heading(group, "-")
        for name in names:
            value = getattr(concurro, name)
            yield from _entry(name, value)
    yield from _heading("What you are given", "-")
    yield from _prose("Nobody makes these, and nobody needs to import them: calls and callbacks hand them out.")
    for value in GIVEN:
        yield from _entry(value.__name__, value)
    yield from _heading("Errors", "-")
    yield from _prose("All of them are `ConcurroError`, and also the errors in brackets that a caller would catch.")
    for name in error_names():
        value = getattr(concurro, name)
        bases = ", ".join(base.__name__ for base in value.__bases__)
        yield from _heading(name, "~")
        yield from _literal(f"{name}({bases})\n\n{inspect.getdoc(value)}")
        for member, text in _members_of_its_own(value):
            yield from _literal(f"{member}\n{textwrap.indent(text, '    ')}")


def error_names() -> list[str]:
    """Return the names of all public errors."""
    values = {name: getattr(concurro, name) for name in concurro.__all__}
    return sorted(name for name, value in values.items() if inspect.isclass(value) and issubclass(value, BaseException))


def public_members(cls: type) -> dict[str, object]:
    """Return what users may call or read of a class: its methods and properties, and those of our bases."""
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.partition(".")[0] != "concurro":
            continue
        for name, value in vars(base).items():
            is_public = not name.startswith("_") or name == "__call__"
            if is_public and (isinstance(value, property | classmethod) or inspect.isfunction(value)):
                found.pop(name, None)  # an override stands where it is written
                found[name] = value
    return {name: value for name, value in found.items() if name not in INTERNAL.get(cls.__name__, ())}


def failure_table_lines() -> Iterator[str]:
    """Yield what may break, what is promised then, and which tests show it, group by group."""
    tests = numbered_tests()
    group = ""
    for line in failure_lines():
        if line.group != group:
            group = line.group
            yield from _heading(group, "-")
            yield from (".. list-table::", "   :header-rows: 1", "   :widths: 5 25 10 30 30", "")
            yield from _row("Line", "What happens", "Promises", "What you see", "Tests")
        mine = sorted((test for test in tests if test.number == line.number), key=lambda test: test.name != line.test)
        names = [f"``{test.name}``" + (r" \*" if test.slow else "") for test in mine]
        yield from _row(str(line.number), line.what, ", ".join(line.promise), line.seen, "\n\n".join(names))


def _row(*cells: str) -> Iterator[str]:
    for mark, cell in zip("*    ", cells, strict=True):
        first, *rest = cell.splitlines() or [""]
        yield f"   {mark} - {first}"
        yield from (f"       {more}" if more else "" for more in rest)


def _click_commands() -> dict[str, click.Command]:
    """Return the click command of every program, wherever the command line keeps it."""
    package = importlib.import_module("concurro.cli")
    modules = [importlib.import_module(f"{package.__name__}.{found.name}") for found in iter_modules(package.__path__)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, click.Command)]
    return {command.name: command for command in found if command.name in PROGRAMS}


def _context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _command(command: click.Command, context: click.Context, underline: str) -> Iterator[str]:
    yield from _heading(context.command_path, underline)
    yield from _literal(command.get_help(context))
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, _context(child, name, context), "~")


def _entry(name: str, value: object) -> Iterator[str]:
    """Yield a name, what it says of itself, and what can be called on it."""
    yield from _heading(name, "~")
    made = "" if value in GIVEN or value is concurro.SystemHandle else _signature(value)
    yield from _literal(f"{name}{made}\n\n{inspect.getdoc(value) or ''}".strip())
    members = _interface_members(value) if isinstance(value, type(concurro.Interface)) else _class_members(value)
    for member, text in members:
        yield from _literal(f"{member}\n{textwrap.indent(text, '    ')}")


def _class_members(value: object) -> Iterator[tuple[str, str]]:
    if not inspect.isclass(value) or issubclass(value, Option):
        return
    for name, member in public_members(value).items():
        text = inspect.getdoc(getattr(value, name)) or ""
        if isinstance(member, property):
            yield f"{name}: {_annotation(member.fget)}", text
        else:
            yield f"{name}{_signature(getattr(value, name))}", text


def _members_of_its_own(error: type) -> Iterator[tuple[str, str]]:
    return (
        (f"{name}{_signature(member)}", inspect.getdoc(member) or "")
        for name, member in vars(error).items()
        if inspect.isfunction(member) and not name.startswith("_")
    )


class _Bare(str):
    """An annotation that is shown as it is written, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _annotation(function: object) -> str:
    return str(inspect.get_annotations(function).get("return", ""))


def _signature(value: object) -> str:
    """Return a signature as it is written, without `self`; empty where there is none."""
    if not callable(value) or isinstance(value, type(concurro.Interface)):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [
        one.replace(annotation=_Bare(one.annotation)) if isinstance(one.annotation, str) else one
        for one in signature.parameters.values()
        if one.name != "self"
    ]
    returned = signature.return_annotation
    if isinstance(returned, str):
        returned = _Bare(returned)
    if inspect.isclass(value):
        returned = signature.empty
    return str(signature.replace(parameters=parameters, return_annotation=returned))


def _interface_members(value: object) -> Iterator[tuple[str, str]]:
    for name in value.names():
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


class _Failures(_Generated):
    def lines(self) -> Iterator[str]:
        return failure_table_lines()


class _Names(_Generated):
    def lines(self) -> Iterable[str]:
        return name_lines()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("concurrent-options", _Options)
    app.add_directive("concurrent-components", _Components)
    app.add_directive("concurrent-commands", _Commands)
    app.add_directive("concurrent-names", _Names)
    app.add_directive("concurrent-failures", _Failures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
