"""Proxies where nobody can be called: in a plain process, or while the state of a system is loaded."""

from __future__ import annotations

import pickle

import pytest

from concurro import NoApplicationError
from concurro_tessera import tessera
from concurro_tessera.proxies import proxy_of


def test_a_proxy_that_arrives_too_early_travels_on():
    early = proxy_of("tess-1", dict, 0, 0, "s/1", "worker:0:0", 1)

    assert pickle.loads(pickle.dumps(early)).__reduce__() == early.__reduce__()
    assert "tess-1" in repr(early)


def test_a_proxy_cannot_be_used_where_there_is_no_application():
    early = proxy_of("tess-1", dict, 0, 0, "s/1", "worker:0:0", 1)

    with pytest.raises(NoApplicationError):
        early.update({})


def test_who_makes_a_tessera_without_a_runtime_is_told_how_to_open_one():
    @tessera
    class Counter:
        pass

    with pytest.raises(NoApplicationError, match=r"concurro_tessera\.run\(main\).*concurro_tessera\.opened\(\)"):
        Counter.remote()
