"""The live view on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.support.commands import running_master
from tests.support.programs import command

LIMIT = 30.0


class Watching:
    """`concurrent top` on a terminal of its own."""

    def __init__(self, process, terminal):
        self.process, self.terminal = process, terminal
        self.seen = ""

    def wait_for(self, text):
        """Read until a text was drawn; forget what was drawn up to it."""
        deadline = time.monotonic() + LIMIT
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} is not in {self.seen[-2000:]!r}"
            ready, _, _ = select.select([self.terminal], [], [], left)
            if ready:
                self.seen += os.read(self.terminal, 65536).decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def rest(self):
        """Return what is drawn until the end."""
        with open(self.terminal, "rb", closefd=False) as stream:
            try:
                while chunk := stream.read1(65536):
                    self.seen += chunk.decode()
            except OSError:  # the other end of a terminal is closed
                pass
        return self.seen


@contextmanager
def watching(url):
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    arguments = [command("concurrent"), "top", "--interval", "0.1", "--master", url]
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    try:
        yield Watching(process, terminal)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(terminal)


@pytest.mark.slow
def test_the_live_view_outlives_the_master_and_leaves_the_terminal_as_it_was(tmp_path, runtime_folder):
    url = f"ipc://{runtime_folder}/master"
    with running_master(tmp_path, url) as (master, _), watching(url) as top:
        top.wait_for(f"master {url}  pid {master.process.pid}")
        assert master.end() == 0
        top.wait_for("the master is gone")
        with running_master(tmp_path, url) as (another, _):
            top.wait_for(f"master {url}  pid {another.process.pid}")
            top.process.send_signal(signal.SIGINT)

            code = top.process.wait(LIMIT)

        assert code == 0
        assert top.rest().endswith("\x1b[?25h\x1b[?1049l")
