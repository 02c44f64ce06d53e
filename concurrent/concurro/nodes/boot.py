"""The first step of a node that a local cluster starts as a process.

    parent == AF_UNIX stream == node
        [role, config, plugins, folder] -->
                                        <-- ["ready", url or slave id] or ["failed", pickled error, text]
        EOF either way: the other is gone

Whatever keeps the node from starting goes back as the error that it is.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import sys
import threading
from typing import Any

import msgpack

from concurro.transport.stream import Channel


def main() -> None:
    """Run the node that the parent describes on our descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    os.set_inheritable(channel.fileno(), False)  # noqa: FBT003 - the standard library's signature
    frames = channel.receive()
    if frames is None:
        return
    role, config, plugins, folder = msgpack.unpackb(frames[0])
    node: Any = None
    try:
        node = _make(role, pickle.loads(config), plugins, folder, channel)
        threading.Thread(target=_watch, args=(channel, node), name="concurro-parent", daemon=True).start()
        node.run()
    except BaseException as error:  # noqa: BLE001 - every fault goes to the parent
        _report(channel, "failed", _pickled(error), str(error))
        os._exit(1)
    os._exit(0)


def _make(role: str, config: Any, plugins: list[str], folder: str, channel: Channel) -> Any:
    if role == "master":
        from concurro.nodes.master import MasterNode, collect_less_often  # noqa: PLC0415 - a slave needs none of it

        collect_less_often()
        master = MasterNode(config, plugins=plugins)
        master.clean_up_folder(folder)
        master.on_ready = lambda: _report(channel, "ready", master.url)
        return master
    from concurro.nodes.slave import SlaveNode  # noqa: PLC0415 - a master needs none of it

    slave = SlaveNode(config, plugins=plugins)
    slave.on_joined = lambda slave_id: _report(channel, "ready", slave_id)
    return slave


def _watch(channel: Channel, node: Any) -> None:
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
