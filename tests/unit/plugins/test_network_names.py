"""Uids of runtimes."""

from __future__ import annotations

import pickle

import pytest

from concurro_monitor import Runtime, RuntimeProxy


@pytest.mark.parametrize(
    ("name", "indices", "uid"),
    [("head", (), "head"), ("node", 3, "node:3"), ("worker", (0, 1), "worker:0:1"), ("monitor", (), "monitor")],
)
def test_a_uid_is_a_name_and_its_indices(name, indices, uid):
    proxy = Runtime.proxy(name, indices)

    assert proxy.uid == uid
    assert proxy == RuntimeProxy(uid=uid) == pickle.loads(pickle.dumps(proxy))
    assert getattr(proxy, f"is_{name}")


@pytest.mark.parametrize("uid", ["", "nobody", "worker:x", "worker:1:2:3", "node:-1"])
def test_what_is_no_uid_is_refused(uid):
    with pytest.raises(ValueError, match="no uid"):
        RuntimeProxy(uid=uid)
