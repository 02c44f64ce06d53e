"""Tesserae on machines that reach nothing but the master's port, and the values that go between them."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from concurro.testing.far_machines import Star, star_of_machines
from tests.support.far_cluster import make_keys
from tests.support.jobs import SHIPPED
from tests.support.nodes import master_process, slave_process
from tests.support.programs import ROOT

pytestmark = pytest.mark.slow

SIZE = 8_000_000
"""Of the value that goes from one worker to the other [B]."""

LITTLE = SIZE // 20
"""More than all else that is said meanwhile, keys and code included [B]."""

PROGRAM = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from concurro_tessera import run
from tests.support.tesserae import Counter

async def main(runtime):
    while runtime.num_nodes < 2:
        await asyncio.sleep(0.05)
    first, second = await Counter.remote(len=2)
    assert first.runtime_id.split(":")[1] != second.runtime_id.split(":")[1]
    chain = second.measure(first.echo(first.large({size})))
    assert await chain.result() == {size}
    return chain.state

print(run(main, master=sys.argv[1], config=json.loads(sys.argv[2])))
"""


class Traffic(NamedTuple):
    """What went over the cable of a machine [B]."""

    sent: int
    received: int


def traffic_of(machine):
    """Return what went over its cable until now."""
    return Traffic(machine.bytes_sent(), machine.bytes_received())


class Apart(NamedTuple):
    """Three machines around a master: the caller's, and those of two slaves."""

    star: Star
    url: str
    settings: dict[str, object]

    def run(self, program: str) -> str:
        """Run a program at the caller's; return what it prints."""
        run = subprocess.run(
            [*self.star.leaves[0].prefix, sys.executable, "-c", program, self.url, json.dumps(self.settings)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()


@pytest.fixture
def apart(tmp_path, runtime_folder):
    """Run a cluster whose machines reach nothing but the master's port."""
    with ExitStack() as stack:
        try:
            star = stack.enter_context(star_of_machines(3))
        except OSError as error:
            pytest.skip(f"no network namespaces here: {error}")
        security = make_keys(tmp_path)
        python = [sys.executable, "-P"]
        listen = {"listen": f"tcp://{star.hub.address}:0"}
        started = master_process(runtime_folder, master=listen, security=security, python=[*star.hub.prefix, *python])
        _, url = stack.enter_context(started)
        star.close_all_but(int(url.rpartition(":")[2]))
        for slave in star.leaves[1:]:
            stack.enter_context(slave_process(url, 1, security=security, python=[*slave.prefix, *python]))
        yield Apart(star, url, {**SHIPPED, "security": security})


def test_values_go_from_worker_to_worker_past_the_caller_with_one_port_open(apart):
    caller, *slaves = apart.star.leaves
    before = [traffic_of(machine) for machine in (caller, *slaves)]

    said = apart.run(PROGRAM.format(root=str(ROOT), size=SIZE))

    after = [traffic_of(machine) for machine in (caller, *slaves)]
    of_caller, *of_slaves = (Traffic(*map(int.__sub__, *both)) for both in zip(after, before, strict=True))
    producer, consumer = sorted(of_slaves, key=lambda traffic: traffic.received)
    assert said == "done"
    assert max(of_caller) < LITTLE
    assert producer.sent > SIZE
    assert consumer.received > SIZE


def test_nothing_but_the_port_of_the_master_can_be_reached(apart):
    caller, first, _ = apart.star.leaves
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()"
    host, _, port = apart.url.rpartition("/")[2].rpartition(":")

    def reaches(address: str, number: str) -> bool:
        command = [*caller.prefix, sys.executable, "-c", connect, address, number]
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0

    assert reaches(host, port)
    assert not reaches(host, "22")
    assert not reaches(first.address, port)
