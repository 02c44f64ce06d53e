"""Which modules travel, and which never do."""

from __future__ import annotations

import json
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import concurro.task
from concurro.wire.travelling import FILE_PLUGIN_PREFIX, Travelling


@pytest.fixture
def add_module(monkeypatch):
    def add_module(name: str, file: Path | None) -> types.ModuleType:
        module = types.ModuleType(name)
        if file is not None:
            module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return add_module


def test_main_and_file_plugins_always_travel():
    travelling = Travelling()

    assert all(travelling.covers(name) for name in ("__main__", "__mp_main__", f"{FILE_PLUGIN_PREFIX}queue"))
    assert not travelling.covers(None)


def test_neighbours_of_the_script_travel_and_others_do_not(tmp_path, add_module):
    travelling = Travelling(tmp_path / "job" / "run.py")
    add_module("beside", tmp_path / "job" / "beside.py")
    add_module("below.deep", tmp_path / "job" / "below" / "deep.py")
    add_module("above", tmp_path / "above.py")
    add_module("compiled", tmp_path / "job" / "compiled.so")
    add_module("fileless", None)

    covered = [
        travelling.covers(name) for name in ("beside", "below.deep", "above", "compiled", "fileless", "not_loaded")
    ]

    assert covered == [True, True, False, False, False, False]


def test_a_module_that_is_imported_later_is_noticed(tmp_path, add_module):
    travelling = Travelling(tmp_path / "run.py")
    add_module("later_one", tmp_path / "later_one.py")
    value = pickle.dumps(["later_one", "later_two"])
    before = travelling.mentioned(pickle.dumps("later_two"))

    add_module("later_two", tmp_path / "later_two.py")

    assert not before
    assert travelling.mentioned(value)
    assert travelling.mentioned(pickle.dumps("later_two"))


def test_a_longer_name_is_not_a_mention(tmp_path, add_module):
    travelling = Travelling(tmp_path / "run.py")
    add_module("short", tmp_path / "short.py")

    assert not travelling.mentioned(pickle.dumps(["shorter", "a short text"]))
    assert travelling.mentioned(pickle.dumps("short"))


def test_installed_packages_the_library_and_concurrent_itself_stay():
    everywhere = Travelling("/run.py", ship=["concurro"])

    assert not any(everywhere.covers(module.__name__) for module in (json, np, concurro.task))


def test_a_script_among_installed_packages_has_no_neighbours():
    travelling = Travelling(Path(np.__file__).with_name("script.py"))

    assert travelling.folders == ()


def test_ship_names_modules_and_folders(tmp_path, add_module):
    travelling = Travelling(ship=["lib", str(tmp_path / "shared")])
    add_module("lib", None)
    add_module("lib.part", None)
    add_module("library", None)
    add_module("inside", tmp_path / "shared" / "inside.py")

    covered = [travelling.covers(name) for name in ("lib", "lib.part", "library", "inside")]

    assert covered == [True, True, False, True]


def test_a_script_inside_a_package_takes_the_whole_package(tmp_path, add_module):
    for folder in (tmp_path / "pack", tmp_path / "pack" / "jobs"):
        folder.mkdir()
        (folder / "__init__.py").touch()
    travelling = Travelling(tmp_path / "pack" / "jobs" / "run.py")
    add_module("pack.shapes", tmp_path / "pack" / "shapes.py")

    assert travelling.covers("pack.shapes")
    assert travelling.roots() == (tmp_path,)
