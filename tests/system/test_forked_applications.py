"""A process that was forked from an application's is told so at once, and leaves the parent's cluster alone."""

from __future__ import annotations

import sys

import pytest

from tests.support.programs import run_program

SCRIPT = """
import concurrent.futures, os, pathlib, sys, threading
from concurro import LocalCluster

gate = pathlib.Path("gate")

def wait_for_gate(gate):
    import time
    while not gate.exists():
        time.sleep(0.01)
    return "through"

def said(call):
    try:
        return call()
    except Exception as error:
        return type(error).__name__

with LocalCluster(1) as cluster:
    with cluster.executor() as executor:
        before = executor.submit(len, "abc")
        assert before.result(20) == 3
        waiting = executor.submit(wait_for_gate, gate.absolute())
        lock = cluster.application._lock
        held, go_on = threading.Event(), threading.Event()
        def hold():
            with lock:
                held.set()
                go_on.wait()
        holder = threading.Thread(target=hold)
        holder.start()
        held.wait()
        child = os.fork()
        if child == 0:
            print("before", before.result(20))
            print("result", said(waiting.result))
            print("wait", said(lambda: concurrent.futures.wait([waiting])))
            print("submit", said(lambda: executor.submit(len, "abcd")))
            print("status", said(cluster.status))
            print("cancel", said(waiting.cancel))
            print("own", LocalCluster(inline=True).executor().submit(len, "ab").result(), flush=True)
            END
        go_on.set()
        holder.join()
        print("child", os.waitpid(child, 0)[1], flush=True)
        cluster.add_slave(1)
        gate.touch()
        print("parent", waiting.result(20), executor.submit(len, "abcd").result(20))
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["os._exit(0)", "cluster.close(); sys.exit()"], ids=["at_once", "by_closing"])
def test_a_forked_process_is_told_that_the_application_is_its_parents(tmp_path, end):
    (tmp_path / "script.py").write_text(SCRIPT.replace("END", end))

    run = run_program(sys.executable, tmp_path / "script.py", cwd=tmp_path)

    said = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    refused = dict.fromkeys(["result", "wait", "submit", "status", "cancel"], "ClosedError")
    assert said == {"before": "3", **refused, "own": "2", "child": "0", "parent": "through 4"}
    assert run.stderr == ""
