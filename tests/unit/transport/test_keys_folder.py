"""The folder of a master's keys: who is added, who is revoked, and whom it lets in now."""

from __future__ import annotations

import pytest

from concurro.errors import KeyFileError
from concurro.ids import Role
from concurro.transport.keys import read_peer
from concurro.transport.keys_folder import KeyFolder, key_in
from concurro.transport.keys_ring import FolderRing


@pytest.fixture
def folder(tmp_path) -> KeyFolder:
    folder = KeyFolder(tmp_path / "keys")
    folder.create()
    return folder


@pytest.fixture
def ring(folder) -> FolderRing:
    return FolderRing(folder.path)


def names(folder):
    return [peer.name for peer in folder.peers()[0]]


def test_a_new_key_names_the_master_and_is_let_in(folder):
    key = read_peer(folder.add("slave", "node7", ["tcp://head:8081"]))

    assert key.master == folder.pair().public
    assert key.addresses == ("tcp://head:8081",)
    assert folder.peers() == ([key.known], [])


def test_a_second_folder_is_not_made_over_the_first(folder):
    pair = folder.pair()

    with pytest.raises(KeyFileError, match="not overwritten"):
        folder.create()

    assert folder.pair() == pair


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "master", "naïve", "a\n"])
def test_a_name_that_is_no_file_name_is_refused(folder, name):
    with pytest.raises(KeyFileError, match="cannot name a key"):
        folder.add("slave", name)


@pytest.mark.parametrize("role", ["master", "local", "host", "king"])
def test_nobody_is_given_a_key_of_another_role(folder, role):
    with pytest.raises(KeyFileError, match="there are slave, application, admin"):
        folder.add(role, "node7")


def test_a_name_is_taken_once_whatever_its_role(folder):
    folder.add("slave", "node7").unlink()

    with pytest.raises(KeyFileError, match="revoke it first"):
        folder.add("admin", "node7")

    assert not (folder.path / "node7.key").exists()


def test_a_revoked_key_is_gone_with_its_secret(folder):
    secret = folder.add("slave", "node7")
    folder.add("slave", "node8")

    folder.revoke("node7")

    assert not secret.exists()
    assert names(folder) == ["node8"]


def test_revoking_whom_nobody_knows_names_who_is_known(folder):
    folder.add("slave", "node7")

    with pytest.raises(KeyFileError, match="there is no key 'node8'; there are: node7"):
        folder.revoke("node8")


def test_a_folder_without_a_master_says_how_to_make_one(tmp_path):
    tmp_path.chmod(0o700)

    with pytest.raises(KeyFileError, match=f"concurrent keys init {tmp_path}"):
        FolderRing(tmp_path)


@pytest.mark.parametrize("lax", [".", "peers", "master.key"])
def test_a_lax_folder_is_refused_at_the_start(folder, lax):
    (folder.path / lax).chmod(0o755)

    with pytest.raises(KeyFileError, match="others may open it"):
        FolderRing(folder.path)


def test_a_lax_or_torn_file_of_one_peer_shuts_out_only_that_one(folder):
    for name in ("node6", "node7", "node8"):
        folder.add("slave", name)
    (folder.peers_path / "node6.pub").chmod(0o644)
    (folder.peers_path / "node7.pub").write_text("form")

    peers, faults = folder.peers()

    assert [peer.name for peer in peers] == ["node8"]
    assert [fault.where for fault in faults] == [str(folder.peers_path / f"{name}.pub") for name in ("node6", "node7")]


def test_a_copy_under_another_name_is_not_let_in(folder):
    folder.add("slave", "node7")
    (folder.peers_path / "node7.pub").rename(folder.peers_path / "node8.pub")

    peers, faults = folder.peers()

    assert peers == []
    assert "it is the key 'node7'; name the file so" in str(faults[0])


def test_a_key_that_is_added_or_revoked_is_seen_at_the_next_look(folder, ring):
    key = read_peer(folder.add("slave", "node7"))
    assert ring.find(key.pair.public) is None

    added = ring.refresh()
    found = ring.find(key.pair.public)
    folder.revoke("node7")
    revoked = ring.refresh()

    assert (added, revoked) == (True, True)
    assert found == key.known
    assert ring.find(key.pair.public) is None


def test_nothing_is_read_again_as_long_as_nothing_changed(folder, ring, monkeypatch):
    folder.add("slave", "node7")
    ring.refresh()
    monkeypatch.setattr(KeyFolder, "peers", None)

    changes = [ring.refresh() for _ in range(3)]

    assert changes == [False] * 3


def test_a_key_that_was_replaced_under_its_name_is_another(folder, ring):
    old = read_peer(folder.add("slave", "node7"))
    ring.refresh()
    folder.revoke("node7")
    new = read_peer(folder.add("admin", "node7"))

    ring.refresh()

    assert ring.find(old.pair.public) is None
    assert ring.find(new.pair.public) == new.known


@pytest.mark.parametrize("harm", ["gone", "lax", "peers gone", "peers lax"])
def test_a_folder_that_is_gone_or_open_to_others_lets_nobody_in_until_it_is_mended(folder, ring, harm, caplog):
    key = read_peer(folder.add("slave", "node7"))
    ring.refresh()
    path = folder.peers_path if "peers" in harm else folder.path

    if "gone" in harm:
        path.rename(path.with_name("away"))
    else:
        path.chmod(0o777)
    changed = ring.refresh()
    meanwhile = ring.find(key.pair.public)
    again = ring.refresh()
    if "gone" in harm:
        path.with_name("away").rename(path)
    else:
        path.chmod(0o700)
    mended = ring.refresh()

    assert (changed, again, mended) == (True, False, True)
    assert meanwhile is None
    assert ring.find(key.pair.public) == key.known
    assert caplog.text.count("nobody is let in until this is mended") == 1


def test_a_peer_takes_the_file_that_it_is_given(folder):
    file = folder.add("slave", "node7")

    assert key_in(file, Role.APPLICATION).name == "node7"  # the master judges


def test_of_a_folder_a_peer_takes_the_key_of_its_role(folder):
    for role in ("slave", "application", "admin"):
        folder.add(role, f"the-{role}")

    chosen = [key_in(folder.path, role).name for role in (Role.SLAVE, Role.APPLICATION)]

    assert chosen == ["the-slave", "the-application"]


def test_an_application_makes_do_with_an_admins_key(folder):
    folder.add("admin", "boss")

    assert key_in(folder.path, Role.APPLICATION).name == "boss"


def test_a_folder_with_several_keys_of_a_role_is_refused_naming_them(folder):
    folder.add("slave", "node7")
    folder.add("slave", "node8")

    with pytest.raises(KeyFileError, match=r"node7\.key, node8\.key\); name the file"):
        key_in(folder.path, Role.SLAVE)


def test_a_folder_without_a_key_of_a_role_says_how_to_make_one(folder):
    folder.add("application", "me")

    with pytest.raises(KeyFileError, match="concurrent keys add slave NAME"):
        key_in(folder.path, Role.SLAVE)
