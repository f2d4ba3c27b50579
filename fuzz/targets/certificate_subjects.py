# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``server.certificates.distinguished_names``: subjects as operators write them."""

from __future__ import annotations

import warnings
from typing import Final

from cryptography import x509

from fuzz import octets
from fuzz.chance import Chance
from fuzz.target import Target, demand
from keyfob.errors import ConfigError
from keyfob.server.certificates.distinguished_names import (
    MAX_NAME_CHARS,
    DistinguishedName,
    parse_name,
)

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Any text is refused or is one name: no empty part, no control character in it; written again "
    "it is the same name, also where another library writes it."
)
_TEXTS: Final = (
    "CN=dev1",
    "CN=dev1,OU=meters,O=Acme,C=DE",
    "UID=7+CN=dev1,DC=example,DC=net",
    r"CN=James \"Jim\" Smith\, III,DC=net",
    r"2.5.4.3=Lu\C4\8Di\C4\87",
    r"CN=\ a\ ,O=\#b",
)
_WORDS: Final = (
    *(b"\\", b"\\,", b"\\+", b"\\00", b"\\2C", b"\\C4", b"#", b" ", b"+", b",", b"=", b'"', b";"),
    *(b"CN=", b"O=", b"2.5.4.10=", b"<", b">", b"\x00", b"\xc3\xa4", b"\xed\xa0\x80"),
)


def make(chance: Chance) -> bytes:
    """Draw a subject."""
    text = chance.one(_TEXTS).encode()
    return octets.changed(chance, text, _WORDS) if chance.often(0.9) else text


def check(data: bytes) -> str:
    """Read one subject."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        name = parse_name(text)
    except ConfigError:
        return "refused"
    demand(0 < len(text) <= MAX_NAME_CHARS and name and all(name), "an empty part")
    for _, value in (attribute for rdn in name for attribute in rdn):
        demand(value and not any(ord(character) < 0x20 for character in value), "a bad value")
    again = _written(name)
    if len(again) <= MAX_NAME_CHARS:
        demand(parse_name(again) == name, "written again it is another name")
    demand(parse_name(_theirs(name)) == name, "another library writes another name")
    return f"{min(len(name), 3)} parts"


def _theirs(name: DistinguishedName) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a country has two letters
        return x509.Name(
            x509.RelativeDistinguishedName(
                x509.NameAttribute(x509.ObjectIdentifier(oid), value, _validate=False)
                for oid, value in rdn
            )
            for rdn in name
        ).rfc4514_string()


def _written(name: DistinguishedName) -> str:
    """Write a name with every octet of every value in hexadecimal."""
    return ",".join(
        "+".join(
            oid + "=" + "".join(f"\\{octet:02x}" for octet in value.encode()) for oid, value in rdn
        )
        for rdn in reversed(name)
    )


TARGET = Target.of("certificate-subjects", _INVARIANT, make, check)
