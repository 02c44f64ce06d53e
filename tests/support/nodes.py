"""Nodes as processes of their own, started and ended by a test."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NODE = """
import json, sys
from concurro import MasterNode, SlaveNode
node = {kind}(json.loads(sys.argv[1]), plugins=sys.argv[2:])
{prelude}
node.on_ready = lambda: print("ready", getattr(node, "url", ""), flush=True)
node.run()
"""


@contextmanager
def node_process(kind: str, config: dict[str, Any], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run `MasterNode` or `SlaveNode` in a process; kill it at the end if it is still there."""
    prelude = options.pop("prelude", "")
    plugins = options.pop("plugins", ())
    code = _NODE.format(kind=kind, prelude=prelude)
    python = options.pop("python", [sys.executable, "-P"])
    with subprocess.Popen(
        [*python, "-c", code, json.dumps(config), *plugins],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


@contextmanager
def master_process(folder: Path, **options: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a master that listens in `folder`; give its process and its address."""
    config = {"master": {"listen": f"ipc://{folder}/master", **options.pop("master", {})}}
    config["slave"] = options.pop("slave", {})
    config["security"] = options.pop("security", {})
    with node_process("MasterNode", config, **options) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:1] == ["ready"], process.stderr.read() if process.stderr else words
        yield process, words[1]


@contextmanager
def slave_process(url: str, workers: int = 1, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a slave of the master at `url`."""
    settings = {"master": url, "workers": workers, **options.pop("slave", {})}
    config = {"slave": settings, "security": options.pop("security", {})}
    with node_process("SlaveNode", config, **options) as process:
        yield process
