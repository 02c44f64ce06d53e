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


@pytest.mark.parametrize(
    "counter", ["nr_free_pages 7\noom_kill {}\n", "low 0\nhigh 0\noom 3\noom_kill {}\n"], ids=["vmstat", "events"]
)
def test_f19_a_kill_by_the_kernel_is_known_by_its_counter(tmp_path, monkeypatch, counter):
    path = tmp_path / "counter"
    path.write_text(counter.format(4))
    monkeypatch.setattr(memory, "_KILLS_OF_SYSTEM", path)
    monkeypatch.setattr(memory, "_event_files", list)
    kills = KernelKills()
    path.write_text(counter.format(5))

    first = explain_kill(3 << 30, kills)
    second = explain_kill(3 << 30, kills)

    assert first.startswith(" by the kernel's out-of-memory killer (it held up to 3 GiB; ")
    assert second.startswith("; probably out of memory (it held up to 3 GiB; ")
