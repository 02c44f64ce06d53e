"""Run a test with a mechanism switched off, in a process of its own and all that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

from tests.support.programs import ROOT

SWITCHES = Path(__file__).with_name("switches")
TEST_LIMIT = 120.0


class Outcome(NamedTuple):
    """How a test ended: `passed`, or `failed` in its own body with this traceback."""

    verdict: str
    traceback: str


def run_without(mechanism: str, test: str, folder: Path) -> Outcome:
    """Run one test without a mechanism.

    Args:
        mechanism: A file of `tests/support/switches`, without its suffix.
        test: The test as pytest names it, from the root of the repository.
        folder: For what the run writes.

    Raises:
        AssertionError: It was not run, or ended otherwise than by itself: in a fixture, say.
    """
    assert (SWITCHES / f"{mechanism}.py").is_file(), mechanism
    report = folder / "report.xml"
    paths = [str(SWITCHES), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Paths of sockets must be short: the folders of the inner run are not within ours.
    with tempfile.TemporaryDirectory(prefix="off-") as inner:
        options = ["-m", "", "-p", "no:cacheprovider", f"--basetemp={inner}/t", f"--junitxml={report}"]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", test, *options],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CONCURRO_WITHOUT": mechanism},
            capture_output=True,
            text=True,
            timeout=TEST_LIMIT,
            check=False,
        )
    assert report.is_file(), run.stdout + run.stderr
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - we have just written it
    failures = [failure.text or "" for case in cases for failure in case.findall("failure")]
    if failures:
        return Outcome("failed", failures[0])
    assert cases, run.stdout
    assert run.returncode == 0, run.stdout
    return Outcome("passed", "")
