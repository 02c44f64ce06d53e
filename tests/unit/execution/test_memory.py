"""What is said of a process that somebody killed, and of memory."""

from __future__ import annotations

import os

import pytest

from concurro.config.quantities import format_size, parse_size
from concurro.execution import memory
from concurro.execution.memory import KernelKills, explain_kill, resident_size, state_of


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (1536, "1.5 KiB"), (200 << 20, "200 MiB"), (3 << 40, "3072 GiB")]
)
def test_a_size_is_shown_as_it_could_be_written(size, shown):
    assert format_size(size) == shown
    assert parse_size(shown) == size


def test_our_own_process_runs_and_holds_some_memory():
    assert resident_size(os.getpid()) > 1 << 20
    assert state_of(os.getpid()) == "R"


def test_a_process_that_is_gone_holds_nothing():
    assert resident_size(1 << 22) == 0
    assert state_of(1 << 22) == ""
    assert memory.shared_fairly(1 << 22) == 0
    assert memory.descendants(1 << 22) == []


GIBIBYTE = 1 << 30


@pytest.fixture
def counter(tmp_path, monkeypatch):
    """Give a counter of kills on a machine of 16 GiB, of which 12 are free."""
    path = tmp_path / "counter"
    path.write_text("nr_free_pages 7\noom_kill 4\n")
    monkeypatch.setattr(memory, "_KILLS_OF_SYSTEM", path)
    monkeypatch.setattr(memory, "_event_files", list)
    monkeypatch.setattr(memory, "_room", lambda: (12 * GIBIBYTE, 16 * GIBIBYTE))
    return path


@pytest.mark.parametrize(
    "text", ["nr_free_pages 7\noom_kill 5\n", "low 0\nhigh 0\noom 3\noom_kill 5\n"], ids=["vmstat", "events"]
)
def test_f19_a_kill_by_the_kernel_is_known_by_its_counter_and_explains_one_death(counter, text):
    kills = KernelKills()
    counter.write_text(text)

    first = explain_kill(3 * GIBIBYTE, kills)
    second = explain_kill(3 * GIBIBYTE, kills)

    figures = "(it held up to 3 GiB; 12 GiB of the machine's 16 GiB are free now"
    assert first == f" by the kernel's out-of-memory killer {figures})"
    assert second == f"; by whom is not known {figures}; the kernel counted no kill for want of memory)"


def test_f19_a_kill_that_two_counters_tell_is_one(counter, tmp_path, monkeypatch):
    events = tmp_path / "events"
    events.write_text("oom_kill 0\n")
    monkeypatch.setattr(memory, "_event_files", lambda: [events])
    kills = KernelKills()
    events.write_text("oom_kill 1\n")
    counter.write_text("oom_kill 5\n")

    explained = [kills.explain_one(), kills.explain_one()]

    assert explained == [True, False]


def test_f19_a_kill_of_long_ago_explains_nothing(counter):
    kills = KernelKills()
    counter.write_text("oom_kill 5\n")
    kills.look()
    lately = kills.explain_one()
    counter.write_text("oom_kill 6\n")
    kills.look()
    kills.look()

    assert lately
    assert not kills.explain_one()


@pytest.mark.parametrize(("peak", "free"), [(11 * GIBIBYTE, 12), (0, 1)], ids=["it held much", "little is free"])
def test_f19_memory_is_blamed_where_it_was_scarce(counter, monkeypatch, peak, free):
    del counter
    monkeypatch.setattr(memory, "_room", lambda: (free * GIBIBYTE, 16 * GIBIBYTE))

    text = explain_kill(peak, KernelKills())

    assert text.startswith("; probably out of memory (")
    assert text.endswith("the kernel counted no kill for want of memory), unless somebody sent it")


def test_f19_nothing_is_blamed_where_nothing_is_known(counter, monkeypatch):
    counter.unlink()
    monkeypatch.setattr(memory, "_room", lambda: (0, 0))

    assert explain_kill(0, KernelKills()) == "; by whom is not known"
