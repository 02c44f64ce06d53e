"""Whatever is written to a worker's pipes is noticed, wherever it is by now."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from concurro.execution.native_writes import NativeWrites, ReadCount
from concurro.execution.worker_output import ProcessOutput


@pytest.fixture
def ends():
    """Give a worker's end, its two pipes to write to, and the agent's output."""
    loop = SimpleNamespace(watch=lambda fd, read: None, unwatch=lambda fd: None)
    reads = ReadCount()
    output_read, output_write = os.pipe()
    errors_read, errors_write = os.pipe()
    output = ProcessOutput(loop, output_read, errors_read, lambda: None, reads.add)
    worker_end = reads.end_for_worker()
    native = NativeWrites(worker_end, (output_write, errors_write))
    os.close(worker_end)
    yield native, (output_write, errors_write), output
    os.close(output_write)
    os.close(errors_write)
    output.close()
    reads.close()


def test_nothing_happened_while_nothing_is_written(ends):
    native, _, output = ends

    output.read()

    assert not native.happened()


@pytest.mark.parametrize("stream", [0, 1])
def test_bytes_in_a_pipe_are_noticed(ends, stream):
    native, pipes, _ = ends

    os.write(pipes[stream], b"x")

    assert native.happened()


@pytest.mark.parametrize("stream", [0, 1])
def test_bytes_that_were_read_already_are_noticed(ends, stream):
    native, pipes, output = ends
    os.write(pipes[stream], b"x")

    output.read()

    assert native.happened()


def test_what_was_told_is_not_noticed_again(ends):
    native, pipes, output = ends
    os.write(pipes[0], b"x")
    output.read()
    native.forget()

    output.read()

    assert not native.happened()


def test_a_pipe_that_cannot_be_asked_counts_as_written(ends):
    native, _, _ = ends
    native._errors = 999_999

    assert native.happened()
