"""The first step of a node that a local cluster starts as a process.

    parent                         node                               launcher
      | execute, with a stream ----> | imports what workers and hosts need
      | (imports meanwhile)          | fork ------------------------------> | imports what the parent has
      | [config, plugins] ---------> | the node                             | workers, hosts
      | <- ["ready", url or slave id] or ["failed", pickled error, text]
        EOF either way: the other is gone

Whatever keeps the node from starting goes back as the error that it is. The launcher is forked
before there is any thread: one interpreter starts, not two one after the other.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import msgpack

from concurro.execution.launcher_process import LauncherProcess
from concurro.transport.stream import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from concurro.config import Config
    from concurro.nodes.node import Node


def main() -> None:
    """Run the node that the parent describes.

    Arguments: our descriptor, the role of the node, a folder that ends with it, and modules that
    hosts and workers have from the start.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream, role, folder, modules = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    if role == "master":
        import concurro.nodes.host  # noqa: F401, PLC0415 - the launcher forks its hosts
    launcher = LauncherProcess.fork(folder, close=stream)
    launcher.prepare(modules)  # while we go on
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    channel = Channel(socket.socket(fileno=stream))
    os.set_inheritable(stream, False)  # noqa: FBT003 - the standard library's signature
    code = 0
    try:
        make = _node_maker(role, channel)
        frames = channel.receive()
        if frames is not None:
            config, plugins = msgpack.unpackb(frames[0])
            node = make(pickle.loads(config), plugins)
            node.use_launcher(launcher, folder)
            threading.Thread(target=_watch, args=(channel, node), name="concurro-parent", daemon=True).start()
            node.run()
    except BaseException as error:  # noqa: BLE001 - every fault goes to the parent
        _report(channel, "failed", _pickled(error), str(error))
        code = 1
    launcher.end()
    os._exit(code)


def _node_maker(role: str, channel: Channel) -> Callable[[Config, list[str]], Node]:
    """Import what the node needs; return what makes it."""
    if role == "master":
        from concurro.nodes.master import MasterNode, collect_less_often  # noqa: PLC0415 - a slave needs none of it

        collect_less_often()

        def make_master(config: Config, plugins: list[str]) -> Node:
            master = MasterNode(config, plugins=plugins)
            master.on_ready = lambda: _report(channel, "ready", master.url)
            return master

        return make_master
    from concurro.nodes.slave import SlaveNode  # noqa: PLC0415 - a master needs none of it

    def make_slave(config: Config, plugins: list[str]) -> Node:
        slave = SlaveNode(config, plugins=plugins)
        slave.on_joined = lambda slave_id: _report(channel, "ready", slave_id)
        return slave

    return make_slave


def _watch(channel: Channel, node: Node) -> None:
    """End the node with its parent."""
    try:
        while channel.receive() is not None:
            continue
    except OSError:
        pass
    node.stop()


def _report(channel: Channel, *news: Any) -> None:
    try:
        channel.send([msgpack.packb(news)])
    except OSError:
        return  # the parent is gone, and the watcher ends us


def _pickled(error: BaseException) -> bytes:
    try:
        return pickle.dumps(error)
    except Exception:  # noqa: BLE001 - the text goes as well
        return b""
