# SPDX-License-Identifier: Apache-2.0
"""docs/small-devices.md tells how long tokens are: as long as the server makes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyfob.server.issue import Access, TokenIssuer
from keyfob.server.opaque_tokens import generate_opaque_token
from keyfob.server.settings import ServerSettings
from keyfob.tokens.sign import SigningKey

TEXT = (Path(__file__).parents[2] / "docs/small-devices.md").read_text(encoding="utf-8")
NAMES = {"`dev1`": "dev1", "a UUID (36 characters)": "0f1c2b3a-4d5e-6f70-8192-a3b4c5d6e7f8"}
TOPICS = {
    "publish:devices": ("temperature", "humidity", "pressure", "alarms"),
    "subscribe:commands": ("configure", "restart", "update", "report"),
}
NARROW = 512


@dataclass(frozen=True)
class OneKey:
    key: SigningKey

    def signing_key(self, now: float) -> SigningKey:  # noqa: ARG002
        return self.key


def scopes(name: str, said: str) -> tuple[str, ...]:
    filters = list[str]()
    if "eight" in said:
        filters = [f"mqtt.{way}/{name}/{one}" for way, each in TOPICS.items() for one in each]
    elif "filter" in said:
        filters = [f"mqtt.{way}/{name}/#" for way in TOPICS]
    return ("mqtt.connect", *filters)


def size(algorithm: str, name: str, granted: tuple[str, ...], **confirmation: object) -> int:
    settings = ServerSettings(
        issuer="https://as.example.com", audience="mqtt", database=Path("unused.db")
    )
    issuer = TokenIssuer(settings, OneKey(SigningKey.generate(algorithm)))
    access = Access(subject=name, client_id=name, scopes=granted, lifetime=None, revoked_through=0)
    token = issuer.issue(access, granted, now=1_795_000_000, confirmation=confirmation)
    return len(token.access_token)


ROWS = re.findall(
    r"^\| (`dev1`|a UUID[^|]*\)) \| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE
)


def test_the_table_has_its_rows() -> None:
    assert len(ROWS) == 6


@pytest.mark.parametrize(("who", "said", "elliptic", "rsa", "opaque"), ROWS)
def test_tokens_are_as_long_as_the_table_says(
    who: str, said: str, elliptic: str, rsa: str, opaque: str
) -> None:
    name = NAMES[who]
    granted = scopes(name, said)
    assert size("ES256", name, granted) == size("EdDSA", name, granted) == int(elliptic)
    assert size("RS256", name, granted) == int(rsa)
    assert len(generate_opaque_token()) == int(opaque)


def test_without_rights_in_it_a_token_of_a_long_name_fits_a_narrow_buffer() -> None:
    assert size("ES256", NAMES["a UUID (36 characters)"], ("mqtt.connect",)) <= NARROW


def test_a_binding_makes_it_some_eighty_bytes_longer() -> None:
    plain = size("ES256", "dev1", ("mqtt.connect",))
    assert size("ES256", "dev1", ("mqtt.connect",), jkt="a" * 43) - plain == 80
