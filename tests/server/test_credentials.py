# SPDX-License-Identifier: Apache-2.0
"""Secrets: what is stored proves them, and nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.credentials import generate_secret, hash_secret, verify_secret
from keyfob.server.names import is_name

secrets = st.text(st.characters(codec="utf-8"))


@given(secrets, secrets)
def test_a_secret_is_proven_by_itself_and_by_no_other(one: str, other: str) -> None:
    assert verify_secret(one, hash_secret(one))
    assert verify_secret(other, hash_secret(one)) == (one == other)


@given(secrets)
def test_nothing_proves_a_client_that_is_not_there(presented: str) -> None:
    assert not verify_secret(presented, None)


def test_an_unknown_form_of_hash_proves_nothing() -> None:
    digest = hash_secret("a").rpartition("$")[2]
    for stored in ("", "v2$sha256$" + digest, "v1$md5$" + digest, digest):
        assert not verify_secret("a", stored)


def test_a_secret_can_stand_in_a_url_and_is_never_taken_for_a_name() -> None:
    made = {generate_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(secret.replace("-", "").replace("_", "").isalnum() for secret in made)
    assert not any(map(is_name, made))
