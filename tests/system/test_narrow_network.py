"""Large values between two machines that a cable of 100 Mbit/s joins."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest

from concurro.testing.far_machines import Machine, two_machines
from tests.support.far_cluster import make_keys
from tests.support.jobs import SHIPPED
from tests.support.nodes import master_process, slave_process
from tests.support.programs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("numpy")

MEGABITS = 100
PROTOCOL_SHARE = 0.15
"""What headers, acknowledgements and everything else may add."""


class Narrow(NamedTuple):
    """A master and a slave on two machines, and what runs beside the master."""

    near: Machine
    far: Machine
    url: str
    settings: dict[str, object]

    def run(self, program: str) -> dict[str, object]:
        """Run a program beside the master; return what it prints."""
        code = PRELUDE.format(root=str(ROOT)) + program
        run = subprocess.run(
            [*self.near.prefix, sys.executable, "-c", code, self.url, json.dumps(self.settings)],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert run.returncode == 0, run.stderr
        answer: dict[str, object] = json.loads(run.stdout)
        return answer


@pytest.fixture
def narrow(tmp_path: Path, runtime_folder: Path) -> Iterator[Narrow]:
    """Run a cluster over a narrow cable."""
    with ExitStack() as stack:
        try:
            near, far = stack.enter_context(two_machines(MEGABITS))
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        security = make_keys(tmp_path)
        python = [sys.executable, "-P"]
        listen = {"listen": f"tcp://{near.address}:0"}
        started = master_process(runtime_folder, master=listen, security=security, python=[*near.prefix, *python])
        _, url = stack.enter_context(started)
        stack.enter_context(slave_process(url, 2, security=security, python=[*far.prefix, *python]))
        yield Narrow(near, far, url, {**SHIPPED, "security": security})


PRELUDE = """
import json, sys, time
import numpy as np
sys.path.insert(0, {root!r})
from concurro import ApplicationNode
from tests.system import narrow_work as work
node = ApplicationNode(sys.argv[1], config=json.loads(sys.argv[2]))
def slaves():
    return [(slave["id"], slave["sick"]) for slave in node.status()["slaves"]]
def wait_for_slave():
    deadline = time.monotonic() + 30
    while not slaves() and time.monotonic() < deadline:
        time.sleep(0.05)
    return slaves()
"""

READ_BY_MANY = """
with node:
    before = wait_for_slave()
    total, count = node.run(work.Readers(np.arange(1_250_000, dtype=float), 300))
    print(json.dumps({"total": total, "count": count, "kept": before == slaves()}))
"""

THERE_AND_BACK = """
with node, node.executor() as executor:
    before = wait_for_slave()
    arrays = [np.full(size, number + 0.5) for number, size in enumerate((250_000, 20_000, 131_072, 1, 500_000, 9_000))]
    futures = [executor.submit(work.add_one, array) for array in arrays]
    equal = [bool((future.result() == array + 1).all()) for future, array in zip(futures, arrays)]
    print(json.dumps({"equal": equal, "size": sum(array.nbytes for array in arrays), "kept": before == slaves()}))
"""


@pytest.mark.slow
def test_an_array_that_many_tasks_read_crosses_the_cable_once(narrow):
    size, before = 10_000_000, narrow.near.bytes_sent()

    answer = narrow.run(READ_BY_MANY)
    sent = narrow.near.bytes_sent() - before

    assert answer == {"total": 300 * sum(range(1_250_000)), "count": 300, "kept": True}
    assert size <= sent < size * (1 + PROTOCOL_SHARE)


@pytest.mark.slow
def test_arrays_cross_the_cable_once_each_way_whole(narrow):
    there, back = narrow.near.bytes_sent(), narrow.far.bytes_sent()

    answer = narrow.run(THERE_AND_BACK)
    there, back = narrow.near.bytes_sent() - there, narrow.far.bytes_sent() - back

    size = answer["size"]
    assert answer == {"equal": [True] * 6, "size": size, "kept": True}
    assert size <= there < size * (1 + PROTOCOL_SHARE)
    assert size <= back < size * (1 + PROTOCOL_SHARE)
