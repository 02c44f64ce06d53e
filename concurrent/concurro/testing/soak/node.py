"""A master or slave as a process of its own, which tells its stacks."""

from __future__ import annotations

import faulthandler
import json
import logging
import signal
import sys
from typing import TYPE_CHECKING

from concurro.nodes.master import MasterNode
from concurro.nodes.slave import SlaveNode

if TYPE_CHECKING:
    from concurro.nodes.node import Node

KINDS: dict[str, type[Node]] = {"master": MasterNode, "slave": SlaveNode}


def main() -> None:
    """Run the node of the kind and configuration that the arguments say."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")
    KINDS[sys.argv[1]](json.loads(sys.argv[2])).run()


if __name__ == "__main__":
    main()
