# SPDX-License-Identifier: Apache-2.0
"""Tokens in an encrypted file and in a keyring.

No desktop runs here, so the keyring is a backend of the ``keyring`` library's own interface that
keeps a file, beside those that it ships for a machine without one.
"""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from keyfob.device import EncryptedFileStore, KeyringStore
from keyfob.errors import ConfigError
from keyfob.tokens.sealing import NONCE_BYTES, Sealer, UnsealableError
from tests.device.world import SECRET, SetClock, token_of

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(bytes(32)).decode()
TOKEN = token_of(SetClock(), access_token=SECRET, refresh_token=f"{SECRET}-too")


class FileKeyring(KeyringBackend):
    """A keyring in a file."""

    priority = 1

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = False

    def _all(self) -> dict[str, str]:
        if self.broken:
            raise RuntimeError(SECRET)
        found: dict[str, str] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return found

    def get_password(self, service: str, username: str) -> str | None:
        return self._all().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self.path.write_text(json.dumps({**self._all(), f"{service}/{username}": password}))


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FileKeyring]:
    before = keyring.get_keyring()
    made = FileKeyring(tmp_path / "keyring.json")
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def test_a_keyring_keeps_a_token_for_the_next_run(backend: FileKeyring, tmp_path: Path) -> None:
    store = KeyringStore("dev1", locks=tmp_path / "locks")
    assert store.load() is None
    store.save(TOKEN)
    assert KeyringStore("dev1", locks=tmp_path / "locks").load() == TOKEN
    assert KeyringStore("dev2", locks=tmp_path / "locks").load() is None
    assert KeyringStore("dev1", service="mine", locks=tmp_path / "locks").load() is None


def test_processes_that_share_an_entry_take_turns(
    backend: FileKeyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    one, other = KeyringStore("dev1").turn(), KeyringStore("dev1").turn()
    assert one.take()
    assert not other.take()
    assert KeyringStore("dev2").turn().take()
    one.give_back()
    assert other.take()
    other.give_back()
    folder = tmp_path / "state" / "keyfob"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(each.stat().st_size == 0 for each in folder.iterdir())


def test_an_entry_that_is_no_token_is_nothing(backend: FileKeyring, tmp_path: Path) -> None:
    backend.set_password("keyfob", "dev1", "somebody's password")
    assert KeyringStore("dev1", locks=tmp_path).load() is None


def test_a_keyring_that_fails_is_an_os_error_that_repeats_nothing(
    backend: FileKeyring, tmp_path: Path
) -> None:
    store = KeyringStore("dev1", locks=tmp_path)
    backend.broken = True
    for use in (store.load, lambda: store.save(TOKEN)):
        with pytest.raises(OSError, match="RuntimeError") as caught:
            use()
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("absent", [null.Keyring, fail.Keyring])
def test_a_machine_without_a_keyring_is_told_so_at_once(
    backend: FileKeyring, absent: type[KeyringBackend], tmp_path: Path
) -> None:
    keyring.set_keyring(absent())
    with pytest.raises(ConfigError, match="no keyring"):
        KeyringStore("dev1", locks=tmp_path)


def test_an_encrypted_file_keeps_a_token_and_shows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "token"
    store = EncryptedFileStore(path, key=KEY)
    store.save(TOKEN)
    first = path.read_bytes()
    store.save(TOKEN)
    assert path.read_bytes() != first
    assert SECRET.encode() not in first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert EncryptedFileStore(path, key=KEY).load() == TOKEN
    assert EncryptedFileStore(path, key=bytes(range(32)).hex()).load() == TOKEN
    assert EncryptedFileStore(path, key=OTHER).load() is None
    assert KEY not in repr(vars(store))


def test_a_file_that_was_changed_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "token"
    store = EncryptedFileStore(path, key=KEY)
    store.save(TOKEN)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert store.load() is None
        path.write_bytes(whole[:at])
        assert store.load() is None


def test_the_key_comes_from_a_file_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, key_file = tmp_path / "token", tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    monkeypatch.setenv("TOKEN_KEY", KEY)
    EncryptedFileStore.with_key_file(path, key_file).save(TOKEN)
    assert EncryptedFileStore.with_key_variable(path, "TOKEN_KEY").load() == TOKEN
    with pytest.raises(ConfigError, match="No such file"):
        EncryptedFileStore.with_key_file(path, tmp_path / "none")
    with pytest.raises(ConfigError, match="NOT_THERE"):
        EncryptedFileStore.with_key_variable(path, "NOT_THERE")


@pytest.mark.parametrize("key", ["", "correct horse battery staple", SECRET, "00" * 31, "é" * 64])
def test_a_passphrase_is_no_key_and_is_not_repeated(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match="32 random bytes") as caught:
        EncryptedFileStore(tmp_path / "token", key=key)
    assert not key or key not in str(caught.value)


@given(st.binary(max_size=100), st.binary(max_size=20), st.binary(max_size=20))
def test_what_is_sealed_opens_about_the_same_and_about_nothing_else(
    plain: bytes, about: bytes, other: bytes
) -> None:
    sealer = Sealer(KEY, version=b"v1:")
    sealed = sealer.seal(plain, about=about, nonce=os.urandom(NONCE_BYTES))
    assert sealer.open(sealed, about=about) == plain
    if other != about:
        with pytest.raises(UnsealableError):
            sealer.open(sealed, about=other)
    with pytest.raises(UnsealableError):
        Sealer(KEY, version=b"v2:").open(sealed, about=about)
