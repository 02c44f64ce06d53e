"""What the README and the documentation print is true."""

from __future__ import annotations

import ast
import importlib.util
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path  # noqa: TC003

import pytest

from concurro.config.core_options import CORE_TABLES
from tests.support.documents import Block, blocks, shown_output
from tests.support.programs import EXAMPLES, ROOT, command, run_program

README = (ROOT / "README.rst").read_text(encoding="utf-8")
WITHOUT_OPTIONS = {"components"}


LIBRARIES = {"dask", "joblib", "numpy", "scipy", "sklearn", "tqdm"}
"""What a block may need that is not there: how to use Concurrent with it."""


def imports_of(block: Block) -> set[str]:
    """Return the packages that a block imports."""
    nodes = list(ast.walk(ast.parse(block.text)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def where(block: Block) -> str:
    """Name a block in the list of tests."""
    return block.where


def test_the_readme_has_both_commands_as_they_are_typed():
    lines = [line.strip() for line in README.splitlines()]

    assert "pip install . && concurrent run examples/reverse_md5.py" in lines
    assert 'pip install -e ".[test]" && pytest' in lines


def test_the_readme_prints_the_example_word_by_word():
    printed = next(block.text for block in blocks("python") if block.where.startswith("README.rst"))

    assert printed == (EXAMPLES / "sum_of_squares.py").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("runtime_folder")
@pytest.mark.parametrize("block", [block for block in blocks("python") if "sys.argv" not in block.text], ids=where)
def test_a_python_block_runs(block: Block, tmp_path: Path):
    missing = [library for library in LIBRARIES & imports_of(block) if importlib.util.find_spec(library) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    program = tmp_path / (block.caption or "block.py")
    for other in blocks("python"):
        if other.caption and other.page == block.page:
            (tmp_path / other.caption).write_text(other.text, encoding="utf-8")
    program.write_text(block.text, encoding="utf-8")

    run = run_program(sys.executable, program, cwd=tmp_path)

    if block.caption and not block.caption.startswith(("test_", "conftest")):  # those are for pytest, and print nothing
        assert run.stdout == shown_output(block.page, f"python {block.caption}")
    if "SumOfSquares(1000)" in block.text:
        assert run.stdout == "332833500\n"


@pytest.mark.slow
def test_the_readme_example_runs_typed_into_an_interpreter(runtime_folder: Path):
    typed = next(block.text for block in blocks("python") if block.where.startswith("README.rst"))
    # An interpreter ends a class at an empty line; people paste blocks, so leave none inside.
    classes = "\n".join(line for line in typed.partition("if __name__")[0].splitlines() if line.strip())
    classes = classes.replace("\nclass ", "\n\nclass ")
    ending = "\n\nwith LocalCluster(workers=2) as cluster:\n    print(cluster.run(SumOfSquares(1000)))\n\n"

    run = subprocess.run(
        [sys.executable, "-i", "-q"],
        input=classes + ending,
        cwd=runtime_folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "332833500" in run.stdout, run.stderr


@pytest.mark.parametrize("block", blocks("toml"), ids=where)
def test_a_toml_block_sets_only_what_exists(block: Block):
    tables = tomllib.loads(block.text)

    unknown = [
        f"{table}.{key}"
        for table, values in tables.items()
        if table in CORE_TABLES and table not in WITHOUT_OPTIONS
        for key in values
        if key not in CORE_TABLES[table]
    ]

    assert unknown == []


def console_commands() -> list[tuple[str, list[str]]]:
    """Return every typed command with its place, split into words."""
    typed = [
        (block.where, shlex.split(line.removeprefix("$ ")))
        for block in blocks("console")
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
    return [(place, words) for place, words in typed if words[0].startswith("concurrent")]


@pytest.mark.parametrize(("place", "words"), console_commands(), ids=str)
def test_a_command_that_is_shown_exists_with_its_options(place: str, words: list[str]):
    program, *arguments = words
    names = [word for word in arguments[:2] if word.isidentifier()]
    subcommands = names[:2] if names[:1] in (["plugins"], ["config"], ["keys"], ["tesserae"]) else names[:1]

    help_text = run_program(command(program), *subcommands, "--help").stdout

    unknown = [word for word in arguments if word.startswith("-") and word.split("=")[0] not in help_text]
    assert unknown == [], place


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.rst")), ids=lambda page: page.name)
def test_a_file_that_a_page_names_exists(page: Path):
    names = [
        word.strip("`,.:;()")
        for word in page.read_text(encoding="utf-8").split()
        if word.strip("`,.:;()").startswith("examples/")
    ]

    missing = [name for name in names if not (ROOT / name).exists()]

    assert missing == []
