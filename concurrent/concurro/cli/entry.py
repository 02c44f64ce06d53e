"""Start a command, importing only what it needs."""

from __future__ import annotations


def main() -> None:
    """Run `concurrent`."""
    from concurro.cli.commands import concurrent_group  # noqa: PLC0415 - each program starts its own

    concurrent_group(prog_name="concurrent")


def master_main() -> None:
    """Run `concurrent-master`."""
    from concurro.cli.nodes import master_command  # noqa: PLC0415 - each program starts its own

    master_command(prog_name="concurrent-master")


def slave_main() -> None:
    """Run `concurrent-slave`."""
    from concurro.cli.nodes import slave_command  # noqa: PLC0415 - each program starts its own

    slave_command(prog_name="concurrent-slave")
