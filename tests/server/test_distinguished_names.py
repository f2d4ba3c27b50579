# SPDX-License-Identifier: Apache-2.0
"""Subjects are compared as values: what is written in another way is the same, all else is not."""

from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.server.certificates.distinguished_names import parse_name, subject_of

CN, O, OU, C = "2.5.4.3", "2.5.4.10", "2.5.4.11", "2.5.4.6"  # noqa: E741
DC, UID = "0.9.2342.19200300.100.1.25", "0.9.2342.19200300.100.1.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The examples of RFC 4514 section 4.
        ("UID=jsmith,DC=example,DC=net", (((DC, "net"),), ((DC, "example"),), ((UID, "jsmith"),))),
        (
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            (((DC, "net"),), ((DC, "example"),), ((OU, "Sales"), (CN, "J.  Smith"))),
        ),
        (
            r"CN=James \"Jim\" Smith\, III,DC=example,DC=net",
            (((DC, "net"),), ((DC, "example"),), ((CN, 'James "Jim" Smith, III'),)),
        ),
        (r"CN=Lu\C4\8Di\C4\87", (((CN, "Lučić"),),)),
        ("CN=Lučić", (((CN, "Lučić"),),)),
        ("2.5.4.3=dev1", (((CN, "dev1"),),)),
        ("cn=dev1,o=Acme", (((O, "Acme"),), ((CN, "dev1"),))),
        (r"CN=\ dev1\ ", (((CN, " dev1 "),),)),
        (r"CN=a\20", (((CN, "a "),),)),
        (r"CN=\#0403", (((CN, "#0403"),),)),
        (r"CN=a\\", (((CN, "a\\"),),)),
        ("CN=a=b", (((CN, "a=b"),),)),
    ],
)
def test_a_name_is_read_as_rfc_4514_writes_it(text: str, expected: object) -> None:
    assert parse_name(text) == tuple(tuple(sorted(rdn)) for rdn in expected)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        *("", "dev1", "CN", "CN=", "=dev1", "CN=dev1,", ",CN=dev1", "CN=a,,O=b", "CN=a+", "+CN=a"),
        *("CN = dev1", "CN=dev1, O=Acme", "CN= dev1", "CN=dev1 ", "CN=dev1 ,O=Acme", " CN=dev1"),
        *('CN="dev1"', "CN=a;O=b", "CN=a<b", "CN=a>b", "CN=a\\", "CN=a\\zz", "CN=a\\4", "/CN=dev1"),
        *(
            "CN=#0403",
            "CN=#",
            "XX=dev1",
            "2.05.4.3=a",
            "4.3=a",
            "1.40=a",
            "2=a",
            ".2.5=a",
            "2.5.4.=a",
            "OID.2.5.4.3=a",
        ),
        *("CN=a\x00b", r"CN=a\00b", "CN=a\nb", r"CN=a\0Ab", "CN=a\x7fb", r"CN=a\C2\80b"),
        *(r"CN=\C4", r"CN=\ED\A0\80", "CN=a\udc80", "CN=a+CN=a", "CN=" + "a" * 1_022),
        ",".join(["CN=a"] * 33),
        "+".join(f"CN={number}" for number in range(33)),
    ],
)
def test_what_is_not_well_formed_is_nobodys_name(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_name(text)


def name_of(*rdns: list[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(oid, value) for oid, value in rdn])
            for rdn in rdns
        ]
    )


ACME = name_of([(NameOID.ORGANIZATION_NAME, "Acme")], [(NameOID.COMMON_NAME, "dev1")])


@pytest.mark.parametrize(
    "other",
    [
        name_of([(NameOID.COMMON_NAME, "dev1")], [(NameOID.ORGANIZATION_NAME, "Acme")]),
        name_of([(NameOID.COMMON_NAME, "dev1"), (NameOID.ORGANIZATION_NAME, "Acme")]),
        name_of([(NameOID.COMMON_NAME, "dev1")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme")]),
        name_of([(NameOID.COMMON_NAME, "dev1,O=Acme")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme,CN=dev1")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme")], [(NameOID.COMMON_NAME, "DEV1")]),
        name_of([(NameOID.ORGANIZATION_NAME, "acme")], [(NameOID.COMMON_NAME, "dev1")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme")], [(NameOID.COMMON_NAME, "dev1 ")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme")], [(NameOID.COMMON_NAME, "dev1\x00")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme")], [(NameOID.COMMON_NAME, "\u0501ev1")]),
        name_of([(NameOID.ORGANIZATION_NAME, "Acme")], [(NameOID.PSEUDONYM, "dev1")]),
        name_of(
            [(NameOID.ORGANIZATION_NAME, "Acme")],
            [(NameOID.COMMON_NAME, "dev1")],
            [(NameOID.COMMON_NAME, "dev2")],
        ),
        name_of(
            [(NameOID.COMMON_NAME, "dev2")],
            [(NameOID.ORGANIZATION_NAME, "Acme")],
            [(NameOID.COMMON_NAME, "dev1")],
        ),
        x509.Name([]),
    ],
)
def test_a_certificate_with_another_subject_is_another(other: x509.Name) -> None:
    expected = parse_name("CN=dev1,O=Acme")
    assert subject_of(ACME) == expected
    assert subject_of(other) != expected


def test_the_order_within_an_rdn_and_the_encoding_make_no_difference() -> None:
    one = name_of([(NameOID.COMMON_NAME, "dev1"), (NameOID.USER_ID, "7")])
    expected = subject_of(one)
    assert parse_name("CN=dev1+UID=7") == parse_name("UID=7+CN=dev1") == expected
    printable = x509.NameAttribute(NameOID.COMMON_NAME, "dev1", x509.name._ASN1Type.PrintableString)
    assert subject_of(x509.Name([printable])) == parse_name("CN=dev1")


def test_a_subject_that_is_no_text_is_nobodys() -> None:
    bits = x509.NameAttribute(
        NameOID.X500_UNIQUE_IDENTIFIER, b"\x00\x01", x509.name._ASN1Type.BitString
    )
    assert subject_of(x509.Name([bits])) is None


TEXT = st.text(
    st.characters(min_codepoint=0x20, exclude_characters="\x7f", exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=20,
)
TYPES = st.sampled_from(
    [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME]
)
RDNS = st.lists(
    st.lists(st.tuples(TYPES, TEXT), min_size=1, max_size=3, unique=True), min_size=1, max_size=4
)


@given(rdns=RDNS)
def test_what_another_library_writes_is_read_as_the_name_that_it_wrote(
    rdns: list[list[tuple[x509.ObjectIdentifier, str]]],
) -> None:
    name = name_of(*rdns)
    assert parse_name(name.rfc4514_string()) == subject_of(name)


@given(first=RDNS, second=RDNS)
def test_two_names_are_the_same_only_if_all_of_them_is(
    first: list[list[tuple[x509.ObjectIdentifier, str]]],
    second: list[list[tuple[x509.ObjectIdentifier, str]]],
) -> None:
    same = [set(rdn) for rdn in first] == [set(rdn) for rdn in second]
    assert (subject_of(name_of(*first)) == subject_of(name_of(*second))) == same


@given(text=st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_name(text)
