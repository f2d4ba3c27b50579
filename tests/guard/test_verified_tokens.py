# SPDX-License-Identifier: Apache-2.0
"""A verified token is taken for verified as long as nothing changed, and no longer."""

from __future__ import annotations

import hashlib

import pytest

from keyfob.guard.verified_tokens import CachedToken, VerifiedTokens
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import VerifiedToken, verify
from tests.guard.world import ISSUER, KEY, NOW, key_set, mint, trusted

KEYS = key_set(KEY)


def cached(token: str, keys: KeySet = KEYS, verified_at: float = NOW) -> tuple[bytes, CachedToken]:
    verified = verify(token, {ISSUER: trusted()}, {ISSUER: keys}, verified_at)
    assert isinstance(verified, VerifiedToken)
    entry = CachedToken(
        token=verified, keys=keys, verified_at=verified_at, principal=verified.device
    )
    return VerifiedTokens.digest(token.encode()), entry


def test_a_token_is_found_by_its_digest_alone() -> None:
    tokens = VerifiedTokens(lambda _: KEYS)
    token = mint()
    digest, entry = cached(token)
    tokens.add(digest, entry)
    assert digest == hashlib.sha256(token.encode()).digest()
    assert tokens.find(digest, NOW) is entry
    assert tokens.find(VerifiedTokens.digest(mint("dev2").encode()), NOW) is None


@pytest.mark.parametrize("now", [NOW - 1, NOW + 3600, NOW + 9999])
def test_it_is_not_found_before_or_after_its_time(now: float) -> None:
    tokens = VerifiedTokens(lambda _: KEYS)
    digest, entry = cached(mint())
    tokens.add(digest, entry)
    assert tokens.find(digest, NOW + 3599.9) is entry
    assert tokens.find(digest, now) is None
    assert len(tokens) == 0
    assert (tokens.hits, tokens.misses) == (1, 1)


def test_it_is_not_found_once_the_issuers_keys_changed() -> None:
    present: list[KeySet | None] = [KEYS]
    tokens = VerifiedTokens(lambda _: present[0])
    digest, entry = cached(mint())
    for changed in (key_set(KEY), None):
        present[0] = KEYS
        tokens.add(digest, entry)
        present[0] = changed
        assert tokens.find(digest, NOW) is None


def test_the_least_recently_used_goes_first() -> None:
    tokens = VerifiedTokens(lambda _: KEYS, size=2)
    entries = [cached(mint(f"dev{number}")) for number in range(3)]
    tokens.add(*entries[0])
    tokens.add(*entries[1])
    assert tokens.find(entries[0][0], NOW) is not None
    tokens.add(*entries[2])
    assert tokens.find(entries[1][0], NOW) is None
    assert len(tokens) == 2


def test_the_token_itself_is_not_kept() -> None:
    token = mint()
    digest, entry = cached(token)
    signature = token.rsplit(".", 1)[1]
    assert signature not in repr((digest, entry, entry.token))
