"""Key files: of their owner alone, whole or not at all, and silent about what is secret."""

from __future__ import annotations

import os
import stat

import pytest

from concurro.errors import ConfigError, KeyFileError
from concurro.ids import Role
from concurro.transport import keys
from concurro.transport.keys import (
    KeyPair,
    KnownPeer,
    PeerKey,
    check_folder,
    make_folder,
    new_pair,
    read_known,
    read_master,
    read_peer,
    write_known,
    write_master,
    write_peer,
)


@pytest.fixture
def key() -> PeerKey:
    return PeerKey("node7", "slave", new_pair(), new_pair().public, ("tcp://head:8081", "tcp://[::1]:9"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_peers_file_holds_all_that_the_peer_needs(tmp_path, key):
    write_peer(tmp_path / "node7.key", key)

    read = read_peer(tmp_path / "node7.key")

    assert (read.name, read.role, read.pair, read.master) == (key.name, key.role, key.pair, key.master)
    assert read.addresses == key.addresses
    assert read.place == str(tmp_path / "node7.key")


def test_what_the_master_knows_of_a_peer_has_no_secret(tmp_path, key):
    write_known(tmp_path / "node7.pub", key.known)

    assert read_known(tmp_path / "node7.pub") == KnownPeer("node7", "slave", key.pair.public)
    assert key.pair.secret not in (tmp_path / "node7.pub").read_text()


def test_the_masters_pair_is_read_as_it_was_written(tmp_path):
    pair = new_pair()

    write_master(tmp_path / "master.key", pair)

    assert read_master(tmp_path / "master.key") == pair


def test_files_and_folders_are_of_their_owner_alone_whatever_the_umask(tmp_path, key):
    before = os.umask(0)
    try:
        make_folder(tmp_path / "keys")
        write_peer(tmp_path / "keys" / "node7.key", key)
        write_known(tmp_path / "keys" / "node7.pub", key.known)
    finally:
        os.umask(before)

    assert mode(tmp_path / "keys") == 0o700
    assert {mode(path) for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_file_that_exists_is_not_overwritten_and_leaves_no_draft(tmp_path, key):
    write_peer(tmp_path / "node7.key", key)

    with pytest.raises(KeyFileError, match="not overwritten"):
        write_peer(tmp_path / "node7.key", PeerKey("other", "slave", new_pair(), new_pair().public))

    assert [path.name for path in tmp_path.iterdir()] == ["node7.key"]
    assert read_peer(tmp_path / "node7.key").name == "node7"


def test_a_link_that_somebody_put_there_is_not_followed(tmp_path, key):
    (tmp_path / "node7.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyFileError):
        write_peer(tmp_path / "node7.key", key)

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("lax", [0o644, 0o640, 0o660, 0o604, 0o601])
def test_a_file_that_others_may_open_is_refused_with_what_mends_it(tmp_path, key, lax):
    path = tmp_path / "node7.key"
    write_peer(path, key)
    path.chmod(lax)

    with pytest.raises(KeyFileError, match=rf"others may open it \(mode {lax:o}\); close it: chmod 600 {path}"):
        read_peer(path)


def test_a_folder_that_others_may_open_is_refused_with_what_mends_it(tmp_path):
    tmp_path.chmod(0o755)

    with pytest.raises(KeyFileError, match=f"chmod 700 {tmp_path}"):
        check_folder(tmp_path)


def test_a_file_of_another_user_is_refused_with_what_mends_it(tmp_path, key, monkeypatch):
    path = tmp_path / "node7.key"
    write_peer(path, key)
    us = os.geteuid()
    monkeypatch.setattr(keys.os, "geteuid", lambda: us + 1)

    with pytest.raises(KeyFileError, match=f"it belongs to user {us}.*chown {us + 1} {path}"):
        read_peer(path)


@pytest.mark.parametrize("reader", [read_peer, read_known, read_master])
def test_a_file_that_is_missing_is_named(tmp_path, reader):
    with pytest.raises(KeyFileError, match=r"node7\.key: this key file cannot be read: No such file") as caught:
        reader(tmp_path / "node7.key")

    assert isinstance(caught.value, ConfigError)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("format = 1", "format = 2"),
        lambda text: text.replace('role = "slave"', 'role = "king"'),
        lambda text: text.replace('role = "slave"', "role = 5"),
        lambda text: text.replace('name = "node7"', 'name = "../../etc/passwd"'),
        lambda text: text.replace("secret = ", "secret = 1 "),
        lambda text: text.replace('secret = "', 'secret = "x'),
        lambda text: text.replace("secret", "sekret"),
        lambda text: text + "\0",
        lambda text: text + "\udc80",
    ],
)
def test_what_is_no_key_file_is_refused_and_not_quoted(tmp_path, key, change):
    path = tmp_path / "node7.key"
    write_peer(path, key)
    path.write_bytes(change(path.read_text()).encode(errors="surrogateescape"))

    with pytest.raises(KeyFileError) as caught:
        read_peer(path)

    assert str(path) in str(caught.value)
    assert key.pair.secret not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_the_masters_file_is_no_peers_file_and_the_other_way_round(tmp_path, key):
    write_master(tmp_path / "master.key", new_pair())
    write_peer(tmp_path / "node7.key", key)

    with pytest.raises(KeyFileError, match="concurrent keys add ROLE NAME"):
        read_peer(tmp_path / "master.key")
    with pytest.raises(KeyFileError, match="not the master's"):
        read_master(tmp_path / "node7.key")


def test_no_secret_is_in_what_python_prints(key):
    printed = f"{key!r} {key} {key.pair!r} {key.known!r} {[key]!r} {KeyPair('public', 'secret!')}"

    assert key.pair.secret not in printed
    assert "secret!" not in printed


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("slave", {Role.SLAVE}),
        ("application", {Role.APPLICATION}),
        ("admin", {Role.APPLICATION, Role.ADMIN}),
        ("local", {Role.SLAVE, Role.APPLICATION, Role.ADMIN}),
    ],
)
def test_a_key_decides_what_its_holder_may_be(role, allowed):
    assert KnownPeer("node7", role, "public").identity == ("node7", allowed, "public")
