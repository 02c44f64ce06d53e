"""The group `concurrent`: its commands, imported when they are called.

Command groups of plugins are looked for when a name is not one of ours, and for the help.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

from concurro.cli.outcomes import reported_errors
from concurro.cli.printing import examples
from concurro.config.spelling import closest_names
from concurro.nodes.log_lines import log_for_people

if TYPE_CHECKING:
    from concurro.kernel import Environment

_COMMANDS = {
    "run": "concurro.cli.run:run_command",
    "submit": "concurro.cli.run:submit_command",
    "status": "concurro.cli.questions:status_command",
    "systems": "concurro.cli.tables:systems_command",
    "slaves": "concurro.cli.tables:slaves_command",
    "top": "concurro.cli.top:top_command",
    "explain": "concurro.cli.questions:explain_command",
    "cancel": "concurro.cli.questions:cancel_command",
    "logs": "concurro.cli.logs:logs_command",
    "report": "concurro.cli.reporting.command:report_command",
    "plugins": "concurro.cli.plugins:plugins_group",
    "config": "concurro.cli.config:config_group",
    "keys": "concurro.cli.keys:keys_group",
    "journal": "concurro.cli.journal:journal_group",
    "replay": "concurro.cli.replay:replay_command",
    "doctor": "concurro.cli.doctor:doctor_command",
    "completion": "concurro.cli.completion:completion_command",
}


class CommandTable(click.Group):
    """The commands of Concurrent and of its plugins."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every name, ours first."""
        del ctx
        return [*_COMMANDS, *_plugin_names()]

    @staticmethod
    def own_names() -> list[str]:
        """Return the names of our own commands, without looking for plugins."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return _plugin_command(cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; say which one was probably meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            closest = closest_names(args[0], self.list_commands(ctx), 1)
            hint = f"; did you mean {closest[0]!r}?" if closest else f"; there are {', '.join(_COMMANDS)}"
            ctx.fail(f"no command {args[0]!r}{hint}")

    def invoke(self, ctx: click.Context) -> Any:
        """Call a command; its errors become messages and exit codes."""
        with reported_errors():
            return super().invoke(ctx)


@click.group(
    "concurrent",
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples("concurrent run job.py -p n=100", "concurrent COMMAND --help"),
)
@click.version_option(package_name="concurro")
def concurrent_group() -> None:
    """Run jobs that decide as they go."""
    log_for_people()


def _environment() -> Environment:
    from concurro.kernel import Environment  # noqa: PLC0415 - most commands never ask for plugins

    return Environment()


def _plugin_names() -> list[str]:
    from concurro.errors import ConcurroError  # noqa: PLC0415 - as above
    from concurro.interfaces import ICommandGroup  # noqa: PLC0415 - as above

    try:
        names = _environment().names(ICommandGroup)
    except ConcurroError as error:
        click.echo(f"commands of plugins are not listed: {error}", err=True)
        return []
    return [name for name in names if name not in _COMMANDS]


def _plugin_command(name: str) -> click.Command | None:
    from concurro.interfaces import ICommandGroup  # noqa: PLC0415 - as above

    environment = _environment()
    if name not in environment.names(ICommandGroup):
        return None
    group: Any = environment.get(ICommandGroup, name)
    command: click.Command = group.command()
    command.name = name
    return command
