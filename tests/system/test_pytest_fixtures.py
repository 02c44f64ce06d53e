"""The fixtures for users' tests, in a run of pytest as theirs."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.documents import blocks

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/how-to/test-your-code.rst"


def run_pytest(folder: Path, *arguments: str) -> str:
    """Run pytest in a folder; return what it printed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a user's project without any test."""
    made = tmp_path / "project"
    (made / "tests").mkdir(parents=True)
    return made


def printed(word: str) -> str:
    """Return the block of the page that has a word in it."""
    return next(block.text for block in blocks("python") if block.where.startswith(PAGE) and word in block.text)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["prepend", "importlib"])
def test_the_tests_on_the_page_pass(folder: Path, mode: str):
    (folder / "tests" / "test_squares.py").write_text(printed("test_in_real_processes"))
    (folder / "conftest.py").write_text(printed("crash_limit"))

    assert "2 passed" in run_pytest(folder, f"--import-mode={mode}")


SEVERAL = """
import os

import pytest

from helping import triple

pids = set()

@pytest.mark.parametrize("number", range(4))
def test_shares_workers(concurrent_cluster, number):
    with concurrent_cluster.executor() as executor:
        assert executor.submit(triple, number).result(30) == 3 * number
        pids.update(executor.submit(os.getpid).result(30) for _ in range(8))
    assert len(pids) <= 3
    assert os.getpid() not in pids

def test_has_what_is_patched(inline_cluster, monkeypatch):
    monkeypatch.setattr("helping.factor", 5)
    with inline_cluster.executor() as executor:
        assert executor.submit(triple, 2).result() == 10
"""


@pytest.mark.slow
def test_tests_share_one_cluster_of_the_options_that_they_give(folder: Path):
    options = "import pytest\n\n@pytest.fixture(scope='session')\ndef concurrent_cluster_options():\n"
    (folder / "conftest.py").write_text(f"{options}    return {{'workers': 3}}\n")
    (folder / "tests" / "helping.py").write_text("factor = 3\n\ndef triple(number):\n    return factor * number\n")
    (folder / "tests" / "test_several.py").write_text(SEVERAL)

    assert "5 passed" in run_pytest(folder)


def test_nothing_of_concurrent_is_imported_before_a_fixture_is_used(folder: Path):
    test = "def test_it():\n    import sys\n    assert 'concurro_pytest' in sys.modules\n"
    test += "    assert not {'concurro', 'zmq', 'zope.interface'} & set(sys.modules)\n"
    (folder / "tests" / "test_light.py").write_text(test)

    assert "1 passed" in run_pytest(folder)
    assert "concurrent_cluster" in run_pytest(folder, "--fixtures")


def test_it_can_be_left_out(folder: Path):
    (folder / "tests" / "test_light.py").write_text(
        "import sys\n\ndef test_it():\n    assert 'concurro_pytest' not in sys.modules\n"
    )

    assert "1 passed" in run_pytest(folder, "-p", "no:concurrent")
