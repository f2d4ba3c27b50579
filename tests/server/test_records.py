# SPDX-License-Identifier: Apache-2.0
"""Frozen values show what they are, and never a secret."""

from __future__ import annotations

from typing import ClassVar

import pytest
from rich.pretty import pretty_repr

from keyfob.server.audit import TokenEvent
from keyfob.server.client_authentication.proven import Proven
from keyfob.server.client_authentication.secret import PresentedSecret
from keyfob.server.clients import Client, ClientKind, StoredSecret
from keyfob.server.issue import Access, IssuedToken
from keyfob.server.records import Record

SECRET = "s3cr3t"
STORED = StoredSecret(
    kind=ClientKind.DEVICE, secret_hash=SECRET, jwks=SECRET, metadata=SECRET, old_hash=SECRET
)
CLIENT = Client(
    client_id="dev1",
    kind=ClientKind.DEVICE,
    secret_hash=SECRET,
    old_hash=SECRET,
    jwks=SECRET,
    grants=(),
    scopes=(),
    created_at=0.0,
)


class Pair(Record, frozen=True, kw_only=True):
    shown: int
    kept: int

    hidden: ClassVar[frozenset[str]] = frozenset({"kept"})


def test_a_record_shows_its_members_but_the_hidden_ones() -> None:
    assert repr(Pair(shown=1, kept=2)) == "Pair(shown=1)"
    assert pretty_repr(Pair(shown=1, kept=2)) == "Pair(shown=1)"


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Pair(shown=1, kept=2).shown = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    "record",
    [
        STORED,
        CLIENT,
        PresentedSecret(client_id="dev1", secret=SECRET),
        Proven(client_id="dev1", stored=STORED, secret_hash=SECRET),
        Access(
            subject="dev1",
            client_id="dev1",
            scopes=(),
            lifetime=None,
            revoked_through=0,
            secret_hash=SECRET,
            device_code=SECRET.encode(),
            shown_confirmations=({"jkt": SECRET},),
        ),
        IssuedToken(
            access_token=SECRET,
            token_id="dev1",
            issued_at=0,
            expires_in=0,
            expires_at=0,
            scope="",
            refresh_token=SECRET,
            cnf={"jwk": SECRET},
        ),
    ],
)
def test_what_a_request_is_made_of_shows_no_secret(record: Record) -> None:
    assert SECRET not in repr(record) + pretty_repr(record)
    assert "dev1" in repr(record) or record is STORED


def test_every_member_that_is_hidden_is_one() -> None:
    for record in (StoredSecret, Client, PresentedSecret, Proven, Access, IssuedToken, TokenEvent):
        assert record.hidden <= set(record.__struct_fields__)
