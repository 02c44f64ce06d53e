"""`ClusterExecutor` passes the tests that CPython has for its own executors."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from tests.support.programs import run_program

PROGRAM = Path(__file__).with_name("run_executor_tests.py")


def has_suite() -> bool:
    """Say whether the interpreter comes with them."""
    return importlib.util.find_spec("test.test_concurrent_futures") is not None


@pytest.mark.slow
@pytest.mark.skipif(not has_suite(), reason="this Python comes without test.test_concurrent_futures")
@pytest.mark.timeout(300)
def test_the_executor_passes_the_tests_of_cpython(runtime_folder: Path):
    run = run_program(sys.executable, PROGRAM, cwd=runtime_folder, timeout=280)

    assert ", 0 failed, 3 skipped" in run.stdout


@pytest.mark.skipif(has_suite(), reason="this Python comes with test.test_concurrent_futures")
def test_without_these_tests_it_is_said_that_nothing_was_run(tmp_path: Path):
    run = run_program(sys.executable, PROGRAM, cwd=tmp_path)

    assert "nothing to run" in run.stdout
