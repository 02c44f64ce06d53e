"""Keys that a master on loopback makes for its own user: found by address, gone with the master."""

from __future__ import annotations

import shutil
import stat

import pytest

from concurro.errors import AuthenticationError, KeyFileError
from concurro.ids import Role
from concurro.transport import keys_automatic
from concurro.transport.keys_automatic import AutomaticKeys, find_automatic
from concurro.transport.keys_ring import AutomaticRing

ADDRESS = ("127.0.0.1", 8081)


@pytest.fixture(autouse=True)
def rooms(tmp_path, monkeypatch):
    """Give an own runtime folder and an own cache folder."""
    runtime, cache = tmp_path / "runtime", tmp_path / "cache"
    runtime.mkdir(mode=0o700)
    cache.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return runtime, cache


def published(address=ADDRESS):
    keys = AutomaticKeys()
    keys.publish(*address)
    return keys


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_who_knows_the_address_finds_a_key_that_may_be_anything(rooms):
    keys = published()

    found = find_automatic(*ADDRESS)

    assert (found.pair, found.master) == (keys.peer.pair, keys.pair.public)
    assert found.known.identity.roles == {Role.SLAVE, Role.APPLICATION, Role.ADMIN}
    assert found.place.startswith(str(rooms[0]))


def test_the_keys_are_of_their_owner_alone(rooms):
    published()

    modes = {path.is_dir(): stat.S_IMODE(path.stat().st_mode) for path in rooms[0].rglob("*")}

    assert modes == {True: 0o700, False: 0o600}


def test_the_masters_own_secret_is_written_nowhere(rooms):
    keys = published()

    assert [keys.pair.secret in path.read_text() for path in files(rooms[0])] == [False]


@pytest.mark.parametrize("address", [("127.0.0.1", 8082), ("127.0.0.1", 808), ("127.0.0.11", 8081), ("::1", 8081)])
def test_another_address_has_other_keys(address):
    published()

    with pytest.raises(AuthenticationError, match="no key for it in") as caught:
        find_automatic(*address)

    assert caught.value.code == "missing"


def test_keys_go_with_their_master(rooms):
    keys = published()

    keys.remove()
    keys.remove()

    assert list(rooms[0].glob("concurrent/keys/*")) == []


def test_what_a_killed_master_left_is_replaced_by_the_next_one_there(rooms):
    killed, other = published(), published(("127.0.0.1", 8082))

    successor = published()

    assert find_automatic(*ADDRESS).pair == successor.peer.pair != killed.peer.pair
    assert find_automatic("127.0.0.1", 8082).pair == other.peer.pair
    assert len(files(rooms[0])) == 2


def test_a_late_removal_of_the_old_keys_leaves_the_new_ones():
    killed = published()
    left = killed.folder
    successor = published()

    shutil.rmtree(left, ignore_errors=True)
    killed.remove()

    assert find_automatic(*ADDRESS).pair == successor.peer.pair


@pytest.mark.parametrize("runtime", ["", "relative", "/no/such/folder", None])
def test_without_a_runtime_folder_the_cache_does(rooms, runtime, monkeypatch):
    if runtime is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)

    keys = published()

    assert find_automatic(*ADDRESS).pair == keys.peer.pair
    assert len(files(rooms[1])) == 1


def test_the_runtime_folder_of_another_user_is_not_used(rooms, monkeypatch):
    us = keys_automatic.os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(keys_automatic.os, "geteuid", lambda: us + 1)
        found = keys_automatic._rooms()

    assert found == [rooms[1] / "concurrent" / "keys"]


def test_a_program_without_a_runtime_folder_finds_what_one_with_it_wrote_to_the_cache(monkeypatch):
    with monkeypatch.context() as patch:
        patch.delenv("XDG_RUNTIME_DIR")
        keys = published()

    assert find_automatic(*ADDRESS).pair == keys.peer.pair


def test_a_folder_that_others_may_open_is_refused(rooms):
    (rooms[0] / "concurrent").mkdir()
    (rooms[0] / "concurrent").chmod(0o755)

    with pytest.raises(KeyFileError, match="chmod 700"):
        published()


def test_a_key_that_others_may_read_is_not_used(rooms):
    published()
    files(rooms[0])[0].chmod(0o644)

    with pytest.raises(KeyFileError, match="chmod 600"):
        find_automatic(*ADDRESS)


def test_keys_that_were_cleaned_away_are_written_again(rooms):
    ring = AutomaticRing()
    ring.opened(*ADDRESS)
    shutil.rmtree(rooms[0] / "concurrent")

    changed = ring.refresh()

    assert changed is False
    assert ring.find(find_automatic(*ADDRESS).pair.public) is not None


def test_keys_that_cannot_be_written_again_are_told_once(rooms, caplog):
    ring = AutomaticRing()
    ring.opened(*ADDRESS)
    shutil.rmtree(rooms[0] / "concurrent")
    (rooms[0] / "concurrent").write_text("in the way")

    ring.refresh()
    ring.refresh()

    assert caplog.text.count("programs of this user cannot connect") == 1
