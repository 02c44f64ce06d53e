"""`concurrent completion`: what lets a shell complete our commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import get_completion_class

from concurro.cli.printing import examples

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

PROGRAMS = ("concurrent", "concurrent-master", "concurrent-slave")
SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog=examples(
        "concurrent completion bash > ~/.concurrent.bash     and in ~/.bashrc: source ~/.concurrent.bash",
        "concurrent completion zsh > ~/.concurrent.zsh       and in ~/.zshrc, after compinit: source ~/.concurrent.zsh",
        "concurrent completion fish > ~/.config/fish/conf.d/concurrent.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion_command(shell: str) -> None:
    """Print the script that lets SHELL complete commands and options.

    It asks `concurrent` itself at each TAB, so that commands of plugins are completed too.
    """
    kind: type[ShellComplete] | None = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows all of SHELLS
    for program in PROGRAMS:
        variable = f"_{program.replace('-', '_')}_COMPLETE".upper()
        script = kind(click.Command(program), {}, program, variable)
        # Not `source()`: that runs the shell to look at its version, and it need not be on this machine.
        click.echo(script.source_template % script.source_vars())
