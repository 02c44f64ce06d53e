"""Masters and slaves that a monitor starts.

And the file by which applications find them.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concurro_monitor.network import join_address

if TYPE_CHECKING:
    from collections.abc import Callable

JOIN_LIMIT = 60.0
"""How long slaves may take to join [s]."""

POLL = 0.05

FIRST_LINE = "# Written by a monitor of Concurrent, which removes it when it stops."

END_LIMIT = 10.0
"""How long a program may take to end [s]."""


class Launched:
    """What a monitor started. Thread-safe."""

    def __init__(self) -> None:
        self._ends = contextlib.ExitStack()
        self._lock = threading.Lock()

    def here(self, application: Any, workers: int | None, slaves: int, config: Any) -> Any:
        """Start slaves on this machine.

        Return the application, connected to their master.
        """
        from concurro import Config, LocalCluster, SlaveNode  # noqa: PLC0415 - workers and masters start none

        if application is None:
            cluster = self._ends.enter_context(LocalCluster(workers=workers, slaves=slaves, config=config))
            return cluster.application
        own = {"slave.master": application.master_url, "slave.workers": workers and str(workers)}
        settings = Config.load(config, overrides={name: value for name, value in own.items() if value is not None})
        joined = [threading.Event() for _ in range(slaves)]
        for event in joined:
            slave = SlaveNode(settings)
            slave.on_joined = lambda _, event=event: event.set()  # type: ignore[misc]
            self._ends.enter_context(slave)
        _wait(lambda: all(event.is_set() for event in joined), f"{slaves} slaves of {application.master_url}")
        return application

    def elsewhere(  # noqa: PLR0913 - what it takes to start programs elsewhere
        self,
        application: Any,
        nodes: list[str],
        workers: int | None,
        address: str,
        launch: list[str],
        command: list[str],
        config: Any,
    ) -> Any:
        """Start a slave on each node.

        Return the application, connected to their master.
        """
        from concurro import ApplicationNode, Config, MasterNode  # noqa: PLC0415 - as above

        if application is None:
            listen = {"master.listen": address} if address else {}
            master = self._ends.enter_context(MasterNode(Config.load(config, overrides=listen)))
            application = self._ends.enter_context(ApplicationNode(master.url, config=config))
        url = application.master_url
        before = {slave["id"] for slave in application.status()["slaves"]}
        options = ["--master", url, *(["--workers", str(workers)] if workers is not None else [])]
        programs = [_Program([word.format(node=node) for word in launch] + command + options, node) for node in nodes]
        for program in programs:
            self._ends.callback(program.end)

        def are_here() -> bool:
            for program in programs:
                program.check()
            return len({slave["id"] for slave in application.status()["slaves"]} - before) >= len(nodes)

        _wait(are_here, f"slaves on {', '.join(nodes)}")
        return application

    def note(self, path: Path) -> Path:
        """Remove a file at the end."""
        self._ends.callback(path.unlink, missing_ok=True)
        return path

    def end(self) -> None:
        """End everything, the last one first. Idempotent."""
        with self._lock:
            self._ends.close()


class _Program:
    """A command that starts a slave somewhere."""

    def __init__(self, words: list[str], node: str) -> None:
        self._node = node
        self._words = words
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        try:
            self._process = subprocess.Popen(  # noqa: S603 - what the caller wants started
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._said
            )
        except OSError as error:
            self._said.close()
            message = f"the slave on {node} could not be started by {' '.join(words)!r}: {error}"
            raise RuntimeError(message) from error

    def check(self) -> None:
        """Look whether it runs.

        Raises:
            RuntimeError: It does not.
        """
        code = self._process.poll()
        if code is None:
            return
        self._said.seek(0)
        words = self._said.read().decode(errors="replace").strip()[-1000:]
        message = f"the slave on {self._node}, started by {' '.join(self._words)!r}, ended with code {code}: {words}"
        raise RuntimeError(message)

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(END_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()


def write_address(facts: dict[str, Any]) -> Path:
    """Write a file of settings that names a master; return its path.

    Args:
        facts: `uid` and `master`; or `address` and `port` instead of `master`; `file`: its path.

    Raises:
        FileExistsError: There is a file that no monitor wrote.
    """
    path = Path(facts.get("file") or "concurrent.toml").absolute()
    if path.exists() and not path.read_text(encoding="utf-8").startswith(FIRST_LINE):
        message = f"{path} has settings that no monitor wrote; give init_file another path: file=..."
        raise FileExistsError(message)
    master = join_address(facts["address"], facts.get("port")) if "address" in facts else facts["master"]
    lines = [FIRST_LINE, "[application]", f'master = "{master}"', "", "[monitor]", f'uid = "{facts["uid"]}"', ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _wait(are_here: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + JOIN_LIMIT
    while not are_here():
        if time.monotonic() > until:
            message = f"{what} did not join within {JOIN_LIMIT:g} s"
            raise TimeoutError(message)
        time.sleep(POLL)
