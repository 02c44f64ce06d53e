"""The watch over leftovers sees what it must see."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.leftovers import MARKER, LeftBehindError, watch_leftovers
from tests.support.waiting import wait_until

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_is_content_when_nothing_is_left():
    with watch_leftovers(grace=0) as folder:
        (folder / "note").write_text("gone in a moment")
        (folder / "note").unlink()

    assert not folder.exists()


def test_restores_the_environment():
    before = dict(os.environ)

    with watch_leftovers(grace=0) as folder:
        inside = tempfile.gettempdir()

    assert inside == str(folder)
    assert dict(os.environ) == before


def test_names_a_child_process_and_ends_it():
    with pytest.raises(LeftBehindError, match=r"time\.sleep"), watch_leftovers(grace=0):
        child = subprocess.Popen(SLEEPER)

    child.wait(timeout=0)
    assert not psutil.pid_exists(child.pid)


@pytest.mark.slow
def test_finds_an_orphan_by_its_marker():
    start = f"subprocess.Popen({SLEEPER!r}, start_new_session=True, stdout=subprocess.DEVNULL)"
    code = f"import subprocess; print({start}.pid)"

    with pytest.raises(LeftBehindError, match=r"time\.sleep"), watch_leftovers(grace=0):
        orphan = int(subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout)

    wait_until(lambda: not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == "zombie", 30, "its end")
    assert MARKER not in os.environ


def test_names_a_file_a_socket_and_a_thread():
    gate = threading.Event()

    with pytest.raises(LeftBehindError) as caught, watch_leftovers(grace=0) as folder:  # noqa: PT012 - all three
        (folder / "note").write_text("forgotten")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "door"))
        thread = threading.Thread(target=gate.wait, name="forgotten-thread")
        thread.start()
    gate.set()
    thread.join()
    listener.close()

    assert f"file {folder / 'note'}" in str(caught.value)
    assert f"socket {folder / 'door'}" in str(caught.value)
    assert "thread forgotten-thread" in str(caught.value)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory is elsewhere on this system")  # noqa: S108
def test_names_shared_memory():
    name = f"concurro-test-{os.getpid()}"
    path = Path("/dev/shm", name)  # noqa: S108

    try:
        with pytest.raises(LeftBehindError, match=name), watch_leftovers(grace=0):
            path.write_bytes(b"forgotten")
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory is elsewhere on this system")  # noqa: S108
def test_leaves_out_the_disk_of_a_simulation_that_runs_beside_it_but_not_of_our_own():
    beside = Path("/dev/shm", f"concurro-simulated-{os.getppid()}-test{os.getpid()}")  # noqa: S108
    ours = Path("/dev/shm", f"concurro-simulated-{os.getpid()}-test")  # noqa: S108

    try:
        with pytest.raises(LeftBehindError) as caught, watch_leftovers(grace=0):  # noqa: PT012 - both at once
            beside.mkdir()
            ours.mkdir()
    finally:
        beside.rmdir()
        ours.rmdir()

    assert ours.name in str(caught.value)
    assert beside.name not in str(caught.value)


def test_a_wait_tells_what_it_waited_for():
    with pytest.raises(AssertionError, match=r"waited 0 s for the moon; the last answer was \[\]"):
        wait_until(list, 0, "the moon")
