"""The command line: `concurrent`, `concurrent-master`, `concurrent-slave`."""

from concurro.cli.entry import main, master_main, slave_main

__all__ = ["main", "master_main", "slave_main"]
