# SPDX-License-Identifier: Apache-2.0
"""Signing keys in the database file: encrypted where that is wanted, and nothing plain is left."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.events import KeyEvent
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.signing.keyring import Keyring
from keyfob.server.signing.keys import prepare
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import Rotation
from keyfob.server.stores.place import Place
from keyfob.server.stores.reads import InLoop
from keyfob.server.stores.schema import bring, migrations
from keyfob.server.stores.serving_keys import ServingKeys
from keyfob.server.stores.sqlite import SqliteSchema
from keyfob.server.stores.store import Store, open_store
from keyfob.server.stores.writer import Writer
from keyfob.tokens.sign import SigningKey
from tests.server.databases import everything
from tests.server.world import ISSUER, Clock

SEALED = SigningSettings(sealer=KeySealer(base64.b64encode(os.urandom(32)).decode()))
OTHER = SigningSettings(sealer=KeySealer(os.urandom(32).hex()))
PLAIN = SigningSettings()


@pytest.fixture
def store(database: Path) -> Iterator[Store]:
    store = open_store(database)
    yield store
    store.close()


def secret_parts(pem: bytes) -> list[bytes]:
    """Pieces of a private key that no public one holds."""
    lines = pem.splitlines()[1:-1]
    der = load_pem_private_key(pem, None).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    return [*(line for line in lines if len(line) > 40), der[30:60]]


@pytest.mark.sqlite  # what PostgreSQL keeps of a row is its own (docs/postgresql.md)
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
def test_turned_on_it_leaves_nothing_plain_in_any_file(
    database: Place, clock: Clock, algorithm: str
) -> None:
    """Also where keys came and went before, and while another process has the file open."""
    plain = SigningSettings(rotation=Rotation(algorithm=algorithm))
    sealed = replace(plain, sealer=SEALED.sealer)
    bystander, store = open_store(database), open_store(database)
    prepare(store, plain, clock=clock)
    with KeyRegister(open_store(database), plain, clock=clock) as keys:
        for _ in range(4):
            clock.now += 10
            keys.rotate(at_once=True)
        pems = [key.private_key for key in store.keys.all()]
        keys.remove(store.keys.all()[2].kid)
    assert pems[0] in everything(database)
    before = list(prepare(store, plain, clock=clock))
    assert list(prepare(store, sealed, clock=clock)) == before
    found = everything(database)
    for pem in pems:
        assert not any(part in found for part in secret_parts(pem))
    bystander.close()
    store.close()


def test_a_key_that_is_made_sealed_never_touches_the_disk_plain(
    database: Place, store: Store, clock: Clock
) -> None:
    (key,) = prepare(store, SEALED, clock=clock).values()
    assert not any(part in everything(database) for part in secret_parts(key.to_pem()))


def test_a_wrong_key_is_an_error_before_anything_changes(
    database: Place, store: Store, clock: Clock, settings: ServerSettings
) -> None:
    prepare(store, SEALED, clock=clock)
    before = store.keys.all()
    for wrong, match in ((OTHER, "not what it was encrypted with"), (PLAIN, "write where")):
        with pytest.raises(ConfigError, match=match) as caught:
            create_app(replace(settings, signing=wrong), clock=clock)
        assert caught.value.key == "key_encryption"
        assert store.keys.all() == before


def test_a_key_under_anothers_name_is_an_error(store: Store, clock: Clock) -> None:
    prepare(store, PLAIN, clock=clock)
    with store.transaction():
        store._connection.execute(
            "UPDATE signing_key SET private_key = ?", (SigningKey.generate().to_pem(),)
        )
    with pytest.raises(ConfigError, match="another key"):
        prepare(store, PLAIN, clock=clock)


def test_a_lost_key_is_replaced_without_it(database: Place, store: Store, clock: Clock) -> None:
    """The tokens end; the server starts again."""
    (lost,) = prepare(store, SEALED, clock=clock)
    clock.now += 10
    with KeyRegister(open_store(database), OTHER, clock=clock) as keys:
        new = keys.rotate(at_once=True)
        keys.remove(lost)
    assert list(prepare(store, OTHER, clock=clock)) == [new.kid]


def test_a_database_of_before_keeps_its_key(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "old.db"
    path.touch(mode=0o600)
    old = sqlite3.connect(path, isolation_level=None)
    bring(SqliteSchema(old), known=migrations()[:1])
    key = SigningKey.generate()
    old.execute(
        "INSERT INTO signing_key VALUES (?, 'ES256', ?, ?)", (key.kid, key.to_pem(), clock.now)
    )
    old.close()
    store = open_store(path)
    assert list(prepare(store, PLAIN, clock=clock)) == [key.kid]
    assert store.keys.all()[0].signs_from == clock.now
    store.close()


@pytest.mark.anyio
async def test_a_process_that_cannot_read_the_key_that_signs_signs_with_no_other(
    database: Place, store: Store, clock: Clock
) -> None:
    """The old one's place in the key set would end before the token does."""
    keys = prepare(store, PLAIN, clock=clock)
    events: list[KeyEvent] = []
    writer = Writer(database)
    ring = Keyring(
        ServingKeys(InLoop(store), writer),
        PLAIN,
        store.keys.all(),
        keys,
        clock=clock,
        audit=events.append,
    )
    (old,) = keys
    with KeyRegister(open_store(database), SEALED, clock=clock) as register:
        new = register.rotate()
    for _ in range(3):
        await ring.refresh()
    assert [(event.what, event.kid) for event in events] == [
        ("unreadable", new.kid),
        ("published", new.kid),
    ]
    assert ring.signing_key(new.signs_from - 1).kid == old
    with pytest.raises(OAuthError, match="signing_key_unreadable") as caught:
        ring.signing_key(new.signs_from)
    assert caught.value.error == "temporarily_unavailable"
    assert [key["kid"] for key in ring.public_keys(new.signs_from)] == [old]
    writer.close()


@pytest.mark.anyio
async def test_no_request_reads_a_private_key(
    settings: ServerSettings, register: Register, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading an RSA key takes longer than a hundred tokens."""
    secret = register.add_device("dev1").secret
    rotation = Rotation(algorithm="RS256")
    app = create_app(replace(settings, signing=SigningSettings(rotation=rotation)), clock=clock)
    monkeypatch.setattr(SigningKey, "from_pem", None)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        await app.state.keyring.refresh()
        form = {
            "grant_type": "client_credentials",
            "client_id": "dev1",
            "client_secret": secret,
        }
        assert (await http.post("/oauth2/token", data=form)).status_code == 200
        (key,) = (await http.get("/oauth2/jwks")).json()["keys"]
        assert (key["kty"], key["alg"]) == ("RSA", "RS256")


def test_nothing_private_is_in_a_repr(store: Store, clock: Clock) -> None:
    prepare(store, PLAIN, clock=clock)
    assert "PRIVATE" not in repr(store.keys.all())
    assert "KeySealer" not in repr(SEALED)
