"""Environments that see nothing of the machine they run on."""

from __future__ import annotations

import textwrap

import pytest

from concurro.kernel import Environment

STRATEGY = '''
from concurro import Component, FloatOption, ITaskScheduleStrategy, implementer

@implementer(ITaskScheduleStrategy)
class {cls}(Component):
    """A strategy."""

    name = "{name}"
    half_life = FloatOption(30.0, "Half-life [s].")

    def setup(self, scheduler, master):
        self._master = master

    def rate(self, slave):
        return 0.0

    def get_next_slave(self, task=None, slaves=None):
        return None
'''


@pytest.fixture(autouse=True)
def _no_user_folder(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("user")))


@pytest.fixture
def write_plugin(tmp_path):
    """Write a file with the text, or with a strategy of that name; return its path."""

    def write(file="plugin.py", text="", *, name="fastest-first", cls="FastestFirst"):
        path = tmp_path / "plugins" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text) if text else STRATEGY.format(name=name, cls=cls))
        return path

    return write


@pytest.fixture
def make_environment():
    """Make an environment from settings and classes."""

    def make(*factories, kind="application", plugins=(), strict_plugins=False, **tables):
        return Environment(tables, kind=kind, plugins=[*plugins, *factories], strict_plugins=strict_plugins)

    return make
