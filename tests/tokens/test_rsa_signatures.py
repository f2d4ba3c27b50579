# SPDX-License-Identifier: Apache-2.0
"""RS256 and PS256 at their edges: blocks that only a lenient verifier unpads (RFC 8017).

Every block is put through the private operation of a real key, so that nothing but its inside
can make the signature wrong.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512

from keyfob.tokens.keys import KeySet, VerificationKey
from keyfob.tokens.sign import SigningKey

_DATA = b"signing.input"
_HASH = hashlib.sha256(_DATA).digest()
_SIZE = 256  # octets of the modulus
_PSS = padding.PSS(padding.MGF1(SHA256()), 32)

Raw = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def rsa_key(signing_keys: Mapping[str, SigningKey]) -> rsa.RSAPrivateKey:
    private = signing_keys["RS256"]._private
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


@pytest.fixture(scope="module")
def raw(rsa_key: rsa.RSAPrivateKey) -> Raw:
    """The private operation alone: RSASP1 (section 5.2.1)."""
    numbers = rsa_key.private_numbers()

    def sign(block: bytes) -> bytes:
        representative = int.from_bytes(block, "big")
        assert len(block) == _SIZE
        assert representative < numbers.public_numbers.n
        return pow(representative, numbers.d, numbers.public_numbers.n).to_bytes(_SIZE, "big")

    return sign


def _verifier(signing_keys: Mapping[str, SigningKey], alg: str) -> VerificationKey:
    """The one RSA key, published for either algorithm."""
    return KeySet.from_jwks({"keys": [{**signing_keys["RS256"].public_jwk(), "alg": alg}]}).keys[0]


@pytest.fixture(scope="module")
def rs256(signing_keys: Mapping[str, SigningKey]) -> VerificationKey:
    return _verifier(signing_keys, "RS256")


@pytest.fixture(scope="module")
def ps256(signing_keys: Mapping[str, SigningKey]) -> VerificationKey:
    return _verifier(signing_keys, "PS256")


@pytest.mark.attack("J16")
@pytest.mark.parametrize(
    ("alg", "scheme", "digest"),
    [
        ("RS256", _PSS, SHA256()),
        ("RS256", padding.PKCS1v15(), SHA1()),
        ("RS256", padding.PKCS1v15(), SHA512()),
        ("PS256", padding.PKCS1v15(), SHA256()),
        ("PS256", padding.PSS(padding.MGF1(SHA1()), 32), SHA256()),
        ("PS256", padding.PSS(padding.MGF1(SHA512()), 64), SHA512()),
    ],
    ids=["pss", "sha1", "sha512", "pkcs1", "mgf1-sha1", "pss-sha512"],
)
def test_another_padding_or_digest_of_the_right_key_is_false(
    alg: str,
    scheme: padding.AsymmetricPadding,
    digest: SHA1 | SHA256 | SHA512,
    rsa_key: rsa.RSAPrivateKey,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    verifier = _verifier(signing_keys, alg)
    assert verifier.verify(_DATA, rsa_key.sign(_DATA, scheme, digest)) is False


@pytest.mark.attack("J16")
@pytest.mark.parametrize("scheme", [padding.PKCS1v15(), _PSS], ids=["RS256", "PS256"])
def test_a_signature_that_is_not_reduced_is_false(
    scheme: padding.AsymmetricPadding,
    rsa_key: rsa.RSAPrivateKey,
    rs256: VerificationKey,
    ps256: VerificationKey,
) -> None:
    """The signature plus n has the same power modulo n (section 5.2.2, step 1)."""
    verifier = ps256 if scheme is _PSS else rs256
    modulus = rsa_key.public_key().public_numbers().n
    # As the modulus has 2048 bits, some signatures leave room for it; which, is chance.
    signed = ((b"%d" % n, rsa_key.sign(b"%d" % n, scheme, SHA256())) for n in itertools.count())
    room = 2 ** (8 * _SIZE) - modulus
    data, signature = next(each for each in signed if int.from_bytes(each[1], "big") < room)
    larger = int.from_bytes(signature, "big") + modulus
    assert verifier.verify(data, signature) is True
    assert verifier.verify(data, larger.to_bytes(_SIZE, "big")) is False


@pytest.mark.attack("J16")
def test_special_integers_are_false(
    rsa_key: rsa.RSAPrivateKey, rs256: VerificationKey, ps256: VerificationKey
) -> None:
    modulus = rsa_key.public_key().public_numbers().n
    for number in (0, 1, 2, modulus - 1, modulus, modulus + 1, 2 ** (8 * _SIZE) - 1):
        for verifier in (rs256, ps256):
            assert verifier.verify(_DATA, number.to_bytes(_SIZE, "big")) is False


# --- RS256: the DigestInfo and what stands before it (sections 8.2 and 9.2) ---

_SHA256_OID = "0609608648016503040201"
_INFO = bytes.fromhex("3031300d" + _SHA256_OID + "05000420") + _HASH


def _block(info: bytes) -> bytes:
    return b"\0\1" + b"\xff" * (_SIZE - 3 - len(info)) + b"\0" + info


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return bytes([tag, len(content)]) + content


def _info(oid: str = _SHA256_OID, null: str = "0500", octets: bytes = _der(4, _HASH)) -> bytes:
    return _der(0x30, _der(0x30, bytes.fromhex(oid + null)), octets)


def test_the_block_of_section_9_2_is_true(raw: Raw, rs256: VerificationKey) -> None:
    """What every other block here changes is therefore all that is wrong in it."""
    assert _info() == _INFO
    assert rs256.verify(_DATA, raw(_block(_INFO))) is True
    assert rs256.verify(_DATA + b"x", raw(_block(_INFO))) is False


_OTHER_INFOS = {
    "null missing": _info(null=""),
    "null twice": _info(null="05000500"),
    "null long form": _info(null="058100"),
    "null with content": _info(null="050100"),
    "null of another tag": _info(null="0400"),
    "oid long form": _info(oid="068109608648016503040201"),
    "oid of sha-1": _info(oid="06052b0e03021a"),
    "oid of md5": _info(oid="06082a864886f70d0205"),
    "oid of sha-384": _info(oid="0609608648016503040202"),
    "oid of sha-512": _info(oid="0609608648016503040203"),
    "oid cut": _info(oid="06086086480165030402"),
    "oid longer": _info(oid="060a60864801650304020100"),
    "oid padded": _info(oid="060a60808648016503040201"),
    "oid of another tag": _info(oid="0d09608648016503040201"),
    "oid missing": _info(oid=""),
    "digest long form": _info(octets=b"\x04\x81\x20" + _HASH),
    "digest cut": _info(octets=_der(4, _HASH[:-1])),
    "digest longer": _info(octets=_der(4, _HASH, b"\0")),
    "digest indefinite": _info(octets=b"\x24\x80" + _der(4, _HASH) + b"\0\0"),
    "digest composed": _info(octets=_der(0x24, _der(4, _HASH[:16]), _der(4, _HASH[16:]))),
    "digest as a bit string": _info(octets=_der(3, b"\0", _HASH)),
    "digest missing": _info(octets=b""),
    "digest twice": _info(octets=_der(4, _HASH) * 2),
    "digest of sha-1": _info(octets=_der(4, hashlib.sha1(_DATA).digest())),
    "digest of all with sha-1": _info(
        oid="06052b0e03021a", octets=_der(4, hashlib.sha1(_DATA).digest())
    ),
    "message instead of digest": _info(octets=_der(4, _DATA)),
    "last octet": _INFO[:-1] + bytes([_INFO[-1] ^ 1]),
    "outer long form": b"\x30\x81" + _INFO[1:],
    "outer leading zero": b"\x30\x82\0" + _INFO[1:],
    "outer indefinite": b"\x30\x80" + _INFO[2:] + b"\0\0",
    "outer too long by one": b"\x30\x32" + _INFO[2:],
    "outer too short by one": b"\x30\x30" + _INFO[2:],
    "outer overflow of 32 bits": b"\x30\x85\x01\0\0\0\x31" + _INFO[2:],
    "outer overflow of 64 bits": b"\x30\x89\x01" + bytes(7) + b"\x31" + _INFO[2:],
    "outer as a set": b"\x31" + _INFO[1:],
    "in a sequence of its own": _der(0x30, _INFO),
    "zeros after": _INFO + bytes(16),
    "null after": _INFO + b"\5\0",
    "null within, after": _der(0x30, _INFO[2:], b"\5\0"),
    "zeros before": bytes(2) + _INFO,
    "digest without info": _HASH,
    "message without info": _DATA,
    "nothing": b"",
}


@pytest.mark.attack("J16")
@pytest.mark.parametrize("info", _OTHER_INFOS.values(), ids=_OTHER_INFOS)
def test_a_digest_info_of_any_other_encoding_is_false(
    info: bytes, raw: Raw, rs256: VerificationKey
) -> None:
    assert info != _INFO
    assert rs256.verify(_DATA, raw(_block(info))) is False


_FILL = b"\xff" * (_SIZE - 3 - len(_INFO))
_OTHER_FILLS = {
    "short, then zeros": b"\0\1" + b"\xff" * 8 + b"\0" + _INFO + bytes(len(_FILL) - 8),
    "short, then garbage": b"\0\1" + b"\xff" * 8 + b"\0" + _INFO + b"\x55" * (len(_FILL) - 8),
    "none, then zeros": b"\0\1\0" + _INFO + bytes(len(_FILL)),
    "after zeros": b"\0\0\0\1" + _FILL[2:] + b"\0" + _INFO,
    "of encryption": b"\0\2" + _FILL + b"\0" + _INFO,
    "of type 0": bytes(3 + len(_FILL)) + _INFO,
    "first octet 1": b"\1\1" + _FILL + b"\0" + _INFO,
    "another octet first": b"\0\1\xfe" + _FILL[1:] + b"\0" + _INFO,
    "another octet last": b"\0\1" + _FILL[1:] + b"\xee\0" + _INFO,
    "zero in the middle": b"\0\1" + _FILL[:99] + b"\0" + _FILL[100:] + b"\0" + _INFO,
    "no zero after": b"\0\1" + _FILL + b"\xff" + _INFO,
    "two zeros after": b"\0\1" + _FILL[1:] + b"\0\0" + _INFO,
    "fill only": b"\0\1" + b"\xff" * (_SIZE - 2),
}


@pytest.mark.attack("J16")
@pytest.mark.parametrize("block", _OTHER_FILLS.values(), ids=_OTHER_FILLS)
def test_any_other_fill_before_the_digest_info_is_false(
    block: bytes, raw: Raw, rs256: VerificationKey
) -> None:
    """Bleichenbacher's forgery of 2006: what a parser that stops early would accept."""
    assert rs256.verify(_DATA, raw(block)) is False


# --- PS256: EMSA-PSS (section 9.1.1) ---


def _mask(seed: bytes, length: int) -> bytes:
    """MGF1 (appendix B.2.1)."""
    blocks = (hashlib.sha256(seed + counter.to_bytes(4, "big")).digest() for counter in range(8))
    return b"".join(blocks)[:length]


def _pss(
    salt: bytes,
    *,
    digest: bytes = _HASH,
    between: bytes | None = None,
    spoil_h: Callable[[bytes], bytes] = bytes,
    trailer: int = 0xBC,
    top: int = 0,
) -> bytes:
    """Encode a message for 2048 bits, or something else than section 9.1.1 says.

    Args:
        salt: Its salt.
        digest: The message's.
        between: What stands before the salt, without the mask: zeros and a one.
        spoil_h: Changes H after the mask has been computed from the right one.
        trailer: The last octet.
        top: The first bit, which must be zero.
    """
    h = hashlib.sha256(bytes(8) + digest + salt).digest()
    length = _SIZE - 1 - len(h)
    start = bytes(length - len(salt) - 1) + b"\1" if between is None else between
    db = start + salt
    assert len(db) == length
    masked = bytes(a ^ b for a, b in zip(db, _mask(h, length), strict=True))
    return bytes([masked[0] & 0x7F | top << 7]) + masked[1:] + spoil_h(h) + bytes([trailer])


_SALT = hashlib.sha256(b"salt").digest()
_ZEROS = _SIZE - 1 - 32 - len(_SALT) - 1


@pytest.mark.parametrize("salt", [_SALT, bytes(32), b"\xff" * 32], ids=["any", "zeros", "ones"])
def test_the_block_of_section_9_1_1_is_true(salt: bytes, raw: Raw, ps256: VerificationKey) -> None:
    assert ps256.verify(_DATA, raw(_pss(salt))) is True
    assert ps256.verify(_DATA + b"x", raw(_pss(salt))) is False


_OTHER_PSS = {
    "first octet of the digest": _pss(_SALT, digest=bytes([_HASH[0] ^ 1]) + _HASH[1:]),
    "last octet of the digest": _pss(_SALT, digest=_HASH[:-1] + bytes([_HASH[-1] ^ 1])),
    "digest of sha-1": _pss(_SALT, digest=hashlib.sha1(_DATA).digest()),
    "first octet of h": _pss(_SALT, spoil_h=lambda h: bytes([h[0] ^ 1]) + h[1:]),
    "last octet of h": _pss(_SALT, spoil_h=lambda h: h[:-1] + bytes([h[-1] ^ 1])),
    "h of zeros": _pss(_SALT, spoil_h=lambda _: bytes(32)),
    "h of ones": _pss(_SALT, spoil_h=lambda _: b"\xff" * 32),
    "first zero": _pss(_SALT, between=b"\x01" + bytes(_ZEROS - 1) + b"\1"),
    "eighth zero": _pss(_SALT, between=bytes(7) + b"\x80" + bytes(_ZEROS - 8) + b"\1"),
    "last zero": _pss(_SALT, between=bytes(_ZEROS - 1) + b"\1\1"),
    "all zeros": _pss(_SALT, between=b"\x7f" + b"\xff" * (_ZEROS - 1) + b"\1"),
    "no one": _pss(_SALT, between=bytes(_ZEROS + 1)),
    "another one": _pss(_SALT, between=bytes(_ZEROS) + b"\xff"),
    "shifted": _pss(_SALT, between=bytes(_ZEROS - 1) + b"\1\0"),
    "no salt": _pss(b""),
    "salt of 1": _pss(_SALT[:1]),
    "salt of 20": _pss(_SALT[:20]),
    "salt of 31": _pss(_SALT[:31]),
    "salt of 33": _pss(_SALT + b"\0"),
    "salt as long as can be": _pss(bytes(_SIZE - 34)),
    "trailer 0xcc": _pss(_SALT, trailer=0xCC),
    "trailer 0": _pss(_SALT, trailer=0),
    "trailer 0xbd": _pss(_SALT, trailer=0xBD),
}


@pytest.mark.attack("J16")
@pytest.mark.parametrize("block", _OTHER_PSS.values(), ids=_OTHER_PSS)
def test_an_emsa_pss_block_that_differs_in_anything_is_false(
    block: bytes, raw: Raw, ps256: VerificationKey
) -> None:
    assert ps256.verify(_DATA, raw(block)) is False


def test_an_emsa_pss_block_whose_first_bit_is_set_is_false(
    rsa_key: rsa.RSAPrivateKey, raw: Raw, ps256: VerificationKey
) -> None:
    """Section 9.1.2, step 6. The block must be less than the modulus, which is up to the salt."""
    modulus = rsa_key.public_key().public_numbers().n
    salts = (number.to_bytes(32, "big") for number in itertools.count())
    block, salt = next(
        (block, salt)
        for salt in salts
        if int.from_bytes(block := _pss(salt, top=1), "big") < modulus
    )
    assert ps256.verify(_DATA, raw(_pss(salt))) is True
    assert ps256.verify(_DATA, raw(block)) is False
