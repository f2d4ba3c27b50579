# SPDX-License-Identifier: Apache-2.0
"""What was proven holds only as long as the client is registered with it."""

from __future__ import annotations

import pytest

from keyfob.server.client_authentication.proven import Proven
from keyfob.server.client_metadata import ClientMetadata, metadata_text
from keyfob.server.clients import Client, ClientKind, StoredSecret

BEFORE = ClientMetadata(tls_client_auth_san_dns="dev1.example")
OTHER = ClientMetadata(tls_client_auth_san_dns="dev2.example")
UNRELATED = ClientMetadata(tls_client_auth_san_dns="dev1.example", dpop_bound_access_tokens=True)


@pytest.mark.parametrize(
    ("by", "registered", "metadata", "holds"),
    [
        ("one", ("one", None, "keys"), BEFORE, True),
        ("one", ("two", "one", "keys"), BEFORE, True),
        ("one", ("two", None, "keys"), BEFORE, False),
        ("one", (None, None, "keys"), BEFORE, False),
        ("one", ("one", None, "other"), BEFORE, False),
        ("one", ("one", None, "keys"), OTHER, False),
        ("one", ("one", None, "keys"), UNRELATED, True),
        (None, ("one", None, "keys"), BEFORE, True),
        (None, ("two", "one", "keys"), BEFORE, False),
        (None, ("one", None, "other"), BEFORE, False),
        (None, ("one", None, "keys"), OTHER, False),
        (None, ("one", None, "keys"), ClientMetadata(), False),
        (None, ("one", None, "keys"), UNRELATED, True),
    ],
)
def test_what_was_proven_holds_while_secret_keys_and_certificate_are_the_same(
    by: str | None,
    registered: tuple[str | None, str | None, str],
    metadata: ClientMetadata,
    holds: bool,
) -> None:
    secret, old, jwks = registered
    stored = StoredSecret(
        kind=ClientKind.DEVICE, secret_hash="one", jwks="keys", metadata=metadata_text(BEFORE)
    )
    client = Client(
        client_id="dev1",
        kind=ClientKind.DEVICE,
        secret_hash=secret,
        old_hash=old,
        grants=(),
        scopes=(),
        created_at=0.0,
        jwks=jwks,
        metadata=metadata,
    )
    proven = Proven(client_id="dev1", stored=stored, secret_hash=by)
    assert proven.still_holds_for(client) is holds
