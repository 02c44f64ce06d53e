"""CPython's own tests of executors, run on `ClusterExecutor`.

    python tests/cpython/run_executor_tests.py

They come with the interpreter, as the package `test.test_concurrent_futures`, or a module of that name
in Python 3.11; many distributions leave them out, or put them into a package of their own. Without them
nothing is run, and that is said.
"""

from __future__ import annotations

import importlib
import sys
import unittest
from typing import Any

from concurro import ClusterExecutor

SUITE = "test.test_concurrent_futures"
PARTS = {
    "executor": "ExecutorTest",
    "test_wait": "WaitTests",
    "test_as_completed": "AsCompletedTests",
    "test_shutdown": "ExecutorShutdownTest",
    "test_init": "InitializerMixin",
}
"""Module of the package, and what it has for any executor."""

IN_A_SUBPROCESS = "starts a program that imports the executor from concurrent.futures by name; ours: tests/system/{}"
SKIPPED = {
    "test_interpreter_shutdown": IN_A_SUBPROCESS.format("test_executor_ends.py"),
    "test_submit_after_interpreter_shutdown": IN_A_SUBPROCESS.format("test_executor_ends.py"),
    "test_hang_gh83386": IN_A_SUBPROCESS.format("test_executor_ends.py"),
}
"""What cannot be asked of an executor that is not the standard library's, and why."""


def suite_parts() -> dict[str, Any] | None:
    """Return the mix-ins by name, with `BaseTestCase` and `ExecutorMixin`; None where they are not installed."""
    try:
        suite = importlib.import_module(SUITE)
    except ImportError:
        return None
    if not hasattr(suite, "__path__"):
        return vars(suite)
    found = dict(vars(importlib.import_module(f"{SUITE}.util")))
    for module, name in PARTS.items():
        found[name] = getattr(importlib.import_module(f"{SUITE}.{module}"), name)
    return found


def make_tests(parts: dict[str, Any]) -> unittest.TestSuite:
    """Return the tests, with those that do not apply marked as skipped."""
    tests = unittest.TestSuite()
    for name in PARTS.values():
        bases = (parts[name], parts["ExecutorMixin"], parts["BaseTestCase"])
        if issubclass(parts[name], parts["ExecutorMixin"]):
            bases = (parts[name], parts["BaseTestCase"])
        case = type(f"Cluster{name}", bases, {"executor_type": ClusterExecutor, "__module__": __name__})
        for test, reason in SKIPPED.items():
            if hasattr(case, test):
                setattr(case, test, unittest.skip(reason)(getattr(case, test)))
        tests.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return tests


def main() -> int:
    """Run them; return the exit code."""
    parts = suite_parts()
    if parts is None:
        print(f"{sys.executable} has no {SUITE}: nothing to run")
        return 0
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(make_tests(parts))
    failed, skipped = len(result.failures) + len(result.errors), len(result.skipped)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
