"""How long tesserae live: as long as something refers to them, wherever that is."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from tests.support.jobs import read_trace
from tests.support.leftovers import watch_leftovers
from tests.support.tesserae import WATCHDOG, Holder, Traced, drive, runtime_of
from tests.support.waiting import LONGEST_WAIT, wait_until

WHILE = 0.5
"""What keeps a tessera busy for longer than one is kept that nothing refers to [s]."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Give a cluster with a runtime and two workers, on two slaves."""
    tmp_path_factory.getbasetemp()
    with watch_leftovers(), runtime_of(workers=1, slaves=2) as (cluster, _):
        yield cluster


@pytest.fixture(autouse=True)
def leaves_nothing_behind(cluster):
    """Leave watching to the whole."""


def see_another_one_collected(folder):
    """Wait until a tessera is collected to which nothing refers: those that live then are held."""
    name = f"other {len(read_trace(folder))}"
    Traced.remote(str(folder), name).touch().wait(WATCHDOG)
    wait_until(lambda: is_gone(folder, *name.split()), LONGEST_WAIT, "the end of another tessera")


def is_gone(folder, *name):
    """Say whether a traced tessera is gone."""
    return ["gone", *name] in read_trace(folder)


def test_a_tessera_whose_proxy_is_gone_is_collected(tmp_path):
    async def main():
        assert await (await Traced.remote(str(tmp_path), "a")).touch().result() == "a"

    drive(main)
    gc.collect()

    wait_until(lambda: is_gone(tmp_path, "a"), LONGEST_WAIT, "the end of a tessera")


def test_a_tessera_lives_while_another_one_holds_its_proxy(tmp_path):
    async def main():
        holder = await Holder.remote()
        await holder.keep("b", Traced.remote(str(tmp_path), "b"))
        return holder

    holder = drive(main)
    gc.collect()
    see_another_one_collected(tmp_path)
    assert not is_gone(tmp_path, "b")
    assert holder.touch("b").get(WATCHDOG) == "b"
    holder.let_go("b").wait(WATCHDOG)

    wait_until(lambda: is_gone(tmp_path, "b"), LONGEST_WAIT, "the end of what was held")


def test_what_a_collected_tessera_held_is_collected_too(tmp_path):
    holder = Holder.remote().wait(WATCHDOG)
    holder.keep("c", Traced.remote(str(tmp_path), "c")).wait(WATCHDOG)
    assert not is_gone(tmp_path, "c")

    del holder

    wait_until(lambda: is_gone(tmp_path, "c"), LONGEST_WAIT, "the end of what a collected tessera held")


def test_a_proxy_under_way_keeps_its_tessera(tmp_path):
    holder = Holder.remote()
    holder.sleep_soon(WHILE)
    kept = holder.keep("d", Traced.remote(str(tmp_path), "d"))
    gc.collect()
    kept.wait(WATCHDOG)

    assert holder.touch("d").get(WATCHDOG) == "d"
    assert not is_gone(tmp_path, "d")


def test_a_proxy_in_a_result_keeps_its_tessera_until_the_result_is_gone(tmp_path):
    holder = Holder.remote()
    made = holder.make(str(tmp_path), "e").wait(WATCHDOG)
    see_another_one_collected(tmp_path)
    assert not is_gone(tmp_path, "e")
    proxy = made.get(WATCHDOG)
    del made
    gc.collect()
    see_another_one_collected(tmp_path)
    assert proxy.touch().get(WATCHDOG) == "e"

    del proxy

    wait_until(lambda: is_gone(tmp_path, "e"), LONGEST_WAIT, "the end of what a result referred to")


def test_calls_of_a_tessera_end_before_it_is_collected(tmp_path):
    Traced.remote(str(tmp_path), "f").sleep(WHILE)
    gc.collect()

    wait_until(lambda: is_gone(tmp_path, "f"), LONGEST_WAIT, "the end of a tessera")
    assert read_trace(tmp_path) == [["here", "f"], ["slept", "f"], ["gone", "f"]]


def test_a_proxy_handed_around_keeps_its_tessera(tmp_path):
    one, two = Holder.remote(), Holder.remote()
    one.keep("g", Traced.remote(str(tmp_path), "g"))
    two.keep("g", one.hand_out("g")).wait(WATCHDOG)
    one.let_go("g").wait(WATCHDOG)
    gc.collect()
    see_another_one_collected(tmp_path)

    assert two.touch("g").get(WATCHDOG) == "g"
    two.let_go("g").wait(WATCHDOG)
    wait_until(lambda: is_gone(tmp_path, "g"), LONGEST_WAIT, "the end of what was handed around")


SCRIPT = """
import os, sys
from concurro_tessera import run, tessera
from concurro import ApplicationNode

@tessera
class Traced:
    def __init__(self, folder, name):
        self.path, self.name = folder + "/trace", name
        self.say("here")

    def say(self, word):
        with open(self.path, "a") as file:
            file.write(f"{word} {self.name}\\n")

    def __del__(self):
        self.say("gone")

async def main(runtime):
    proxy = await Traced.remote(sys.argv[2], "h")
    os._exit(7)

run(main, master=sys.argv[1])
"""


@pytest.mark.slow
def test_the_tesserae_of_an_application_that_died_are_collected(tmp_path, cluster):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    ended = subprocess.run([sys.executable, script, cluster.master_url, tmp_path], timeout=WATCHDOG, check=False)

    assert ended.returncode == 7
    wait_until(lambda: is_gone(tmp_path, "h"), LONGEST_WAIT, "the end of what a dead application had")
