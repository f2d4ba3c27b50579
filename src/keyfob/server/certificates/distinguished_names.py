# SPDX-License-Identifier: Apache-2.0
"""Distinguished names as values: read from RFC 4514 text or a certificate, and compared exactly.

Two names are the same if they have the same RDNs in the same order, and each RDN the same set of
attributes (X.501 ``distinguishedNameMatch``). Text is no way to compare them: one name can be
written in many ways, and a value with a comma in it can look like two attributes.

Values are compared as they are. The matching rules of most attributes ignore case and fold spaces
(RFC 4517 section 4.2.11, RFC 5280 section 7.1); here ``dev1`` and ``DEV1`` are two names, because
an authority may have given them to two devices. How a value is encoded (UTF8String,
PrintableString) makes no difference.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final, TypeAlias

from cryptography import x509

from keyfob.errors import ConfigError

__all__ = ["MAX_NAME_CHARS", "DistinguishedName", "parse_name", "subject_of"]

Attribute: TypeAlias = tuple[str, str]
"""The OID of its type, dotted, and its value."""
DistinguishedName: TypeAlias = tuple[tuple[Attribute, ...], ...]
"""RDNs in the order of the certificate, each sorted."""

MAX_NAME_CHARS: Final = 1_024
_MAX_ATTRIBUTES: Final = 32
# The first nine are the table of RFC 4514 section 3, the others what tools write beside them.
_TYPES: Final = MappingProxyType(
    {
        "CN": "2.5.4.3",
        "L": "2.5.4.7",
        "ST": "2.5.4.8",
        "O": "2.5.4.10",
        "OU": "2.5.4.11",
        "C": "2.5.4.6",
        "STREET": "2.5.4.9",
        "DC": "0.9.2342.19200300.100.1.25",
        "UID": "0.9.2342.19200300.100.1.1",
        "SN": "2.5.4.4",
        "GN": "2.5.4.42",
        "SERIALNUMBER": "2.5.4.5",
        "TITLE": "2.5.4.12",
        "DNQUALIFIER": "2.5.4.46",
        "EMAILADDRESS": "1.2.840.113549.1.9.1",
        "ORGANIZATIONIDENTIFIER": "2.5.4.97",
    }
)
_TYPE: Final = re.compile(
    r"([A-Za-z][A-Za-z0-9-]*|(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))+)=", re.ASCII
)
# RFC 4514 section 3 ``string``: specials stand escaped, a space at either end too.
_VALUE: Final = re.compile(
    r'(?:[^\\,+"<>;\x00-\x1f\x7f]|\\[ "#+,;<=>\\]|\\[0-9A-Fa-f]{2})+', re.ASCII
)
_ESCAPE: Final = re.compile(rb'\\(?:([ "#+,;<=>\\])|([0-9A-Fa-f]{2}))')
_ESCAPED_SPACE_AT_END: Final = re.compile(r"(?:^|[^\\])(?:\\\\)*\\ $")
_HINT: Final = "write it as `openssl x509 -noout -subject -nameopt RFC2253` does"


def parse_name(text: str) -> DistinguishedName:
    """Read a name as RFC 4514 section 3 writes it: the last RDN of the certificate first.

    Args:
        text: Such as ``CN=dev1,OU=meters,O=Acme``.

    Raises:
        ConfigError: It is not well formed, is empty or too long, has an attribute type that is
            not known by name, a value in hexadecimal (``#04...``), or one with control characters.
    """
    if not 0 < len(text) <= MAX_NAME_CHARS:
        raise ConfigError(f"a subject has 1 to {MAX_NAME_CHARS} characters")
    rdns: list[tuple[Attribute, ...]] = []
    rdn: list[Attribute] = []
    at = count = 0
    while True:
        attribute, at = _attribute(text, at)
        rdn.append(attribute)
        count += 1
        more = at < len(text)
        if not more or text[at] == ",":
            rdns.append(_rdn(rdn))
            rdn = []
        if not more:
            return tuple(reversed(rdns))
        if text[at] not in ",+" or count >= _MAX_ATTRIBUTES:
            raise _malformed(text)
        at += 1


def subject_of(name: x509.Name) -> DistinguishedName | None:
    """Return a certificate's subject; None where a value is no text, which is nobody's name."""
    rdns = []
    for rdn in name.rdns:
        attributes = []
        for attribute in rdn:
            if not isinstance(attribute.value, str):
                return None
            attributes.append((attribute.oid.dotted_string, attribute.value))
        rdns.append(tuple(sorted(attributes)))
    return tuple(rdns)


def _attribute(text: str, at: int) -> tuple[Attribute, int]:
    kind = _TYPE.match(text, at)
    value = None if kind is None else _VALUE.match(text, kind.end())
    if kind is None or value is None or _is_padded(value[0]):
        raise _malformed(text)
    name = kind[1]
    oid = _dotted(name, text) if name[0].isdigit() else _TYPES.get(name.upper())
    if oid is None:
        raise ConfigError(f"the subject has an attribute {name!r}, which is not known; use its OID")
    return (oid, _unescaped(value[0], text)), value.end()


def _dotted(oid: str, text: str) -> str:
    try:
        return x509.ObjectIdentifier(oid).dotted_string
    except ValueError:  # such as 4.3
        raise _malformed(text) from None


def _is_padded(value: str) -> bool:
    if value.startswith((" ", "#")):
        return True
    return value.endswith(" ") and not _ESCAPED_SPACE_AT_END.search(value)


def _unescaped(value: str, text: str) -> str:
    try:
        plain = _ESCAPE.sub(_plain, value.encode("utf-8")).decode("utf-8")
    except UnicodeError:
        raise _malformed(text) from None
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in plain):
        raise ConfigError("the subject has a control character in it")
    return plain


def _plain(escape: re.Match[bytes]) -> bytes:
    return escape[1] or bytes.fromhex(escape[2].decode("ascii"))


def _rdn(attributes: list[Attribute]) -> tuple[Attribute, ...]:
    if len(set(attributes)) != len(attributes):
        raise ConfigError("the subject has an attribute twice in one RDN")
    return tuple(sorted(attributes))


def _malformed(text: str) -> ConfigError:
    return ConfigError(f"{text[:80]!r} is no subject in the form of RFC 4514; {_HINT}")
