# SPDX-License-Identifier: Apache-2.0
"""Ed25519 at its edges, with signatures made from integers (RFC 8032 sections 5.1 and 8.4).

Whoever holds the private key could give one message many signatures if the verifier were lax
about the range of S or the spelling of R; whoever does not could change a signature in transit.
"""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from keyfob.tokens import base64url
from keyfob.tokens.keys import KeySet, VerificationKey

# RFC 8032 section 5.1: the field, the curve's d, the base point and its order.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_L = 2**252 + 27742317777372353535851937790883648493

_DATA = b"signing.input"
_SEED = hashlib.sha256(b"a private key for these tests").digest()

Point = tuple[int, int]


def _add(a: Point, b: Point) -> Point:
    product = _D * a[0] * a[1] * b[0] * b[1]
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, -1, _P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, _P)
    return x % _P, y % _P


def _times(factor: int, point: Point) -> Point:
    total = (0, 1)
    for bit in f"{factor:b}":
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


def _even_x(y: int) -> Point:
    """The point with that y-coordinate and an even x-coordinate (section 5.1.3)."""
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    assert x * x % _P == square
    return (_P - x if x % 2 else x), y


def _encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


_BASE = _even_x(4 * pow(5, -1, _P) % _P)
# A point of order 8; its multiples are the eight points of small order.
_TORSION = _even_x(0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826)
# The private scalar (section 5.1.5).
_SECRET = _number(hashlib.sha512(_SEED).digest()[:32]) & (2**254 - 8) | 2**254
_PUBLIC = _encode(_times(_SECRET, _BASE))


def _signature(nonce: int, r: bytes) -> tuple[bytes, int]:
    """Sign with a nonce, but over an R of the caller's spelling (section 5.1.6)."""
    digest = _number(hashlib.sha512(r + _PUBLIC + _DATA).digest())
    return r, (nonce + digest * _SECRET) % _L


def _joined(r: bytes, s: int) -> bytes:
    return r + s.to_bytes(32, "little")


@pytest.fixture(scope="module")
def key() -> VerificationKey:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(_PUBLIC).decode()}
    return KeySet.from_jwks({"keys": [jwk]}).keys[0]


def test_the_arithmetic_of_this_file_is_the_curves() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(_SEED)
    assert private.public_key().public_bytes_raw() == _PUBLIC
    assert _times(_L, _BASE) == (0, 1)
    assert _times(4, _TORSION) != (0, 1) == _times(8, _TORSION)


@pytest.mark.parametrize("nonce", [0, 1, 2, 2**251, _L - 1])
def test_the_least_and_the_greatest_nonces_verify(nonce: int, key: VerificationKey) -> None:
    """What every other test here changes is therefore all that is wrong in it."""
    signature = _joined(*_signature(nonce, _encode(_times(nonce, _BASE))))
    assert key.verify(_DATA, signature) is True
    assert key.verify(_DATA + b"x", signature) is False


@pytest.mark.parametrize("multiple", range(1, 15))
def test_an_s_beyond_the_order_is_false_although_it_is_the_same_residue(
    multiple: int, key: VerificationKey
) -> None:
    """Section 8.4: anybody could make the second signature out of the first."""
    r, s = _signature(5, _encode(_times(5, _BASE)))
    assert key.verify(_DATA, _joined(r, s)) is True
    assert key.verify(_DATA, _joined(r, s + multiple * _L)) is False


@pytest.mark.parametrize("added", [2**253, 2**254, 2**255, _P])
def test_an_s_with_a_high_bit_set_or_the_field_added_is_false(
    added: int, key: VerificationKey
) -> None:
    r, s = _signature(5, _encode(_times(5, _BASE)))
    assert key.verify(_DATA, _joined(r, s + added)) is False


@pytest.mark.parametrize("bit", range(256))
def test_no_bit_of_r_is_idle_although_s_is_computed_for_the_changed_r(
    bit: int, key: VerificationKey
) -> None:
    changed = bytearray(_encode(_times(5, _BASE)))
    changed[bit // 8] ^= 1 << bit % 8
    assert key.verify(_DATA, _joined(*_signature(5, bytes(changed)))) is False


@pytest.mark.parametrize("y", [1, 1 | 1 << 255, _P + 1, _P + 1 | 1 << 255])
def test_the_neutral_point_as_r_has_one_spelling(y: int, key: VerificationKey) -> None:
    """With x = 0 the sign bit cannot be set, and y is less than the field (section 5.1.3)."""
    signature = _joined(*_signature(0, y.to_bytes(32, "little")))
    assert key.verify(_DATA, signature) is (y == 1)


@pytest.mark.parametrize("multiple", range(1, 8))
def test_an_r_with_a_point_of_small_order_added_is_false(
    multiple: int, key: VerificationKey
) -> None:
    """The check is the one without the cofactor, which section 5.1.7 allows: R has one value."""
    torsion = _times(multiple, _TORSION)
    for nonce in (0, 5):
        r = _encode(_add(_times(nonce, _BASE), torsion))
        assert key.verify(_DATA, _joined(*_signature(nonce, r))) is False


@pytest.mark.parametrize("s", [0, 1, _L - 1, _L, _L + 1, _P, 2**256 - 1])
@pytest.mark.parametrize("r", [0, 1, _P - 1, _P, _P + 1, _L, 2**255 - 1, 2**256 - 1])
def test_special_values_for_r_and_s_are_false(r: int, s: int, key: VerificationKey) -> None:
    assert key.verify(_DATA, _joined(r.to_bytes(32, "little"), s)) is False


def test_more_or_fewer_bytes_than_64_are_false_wherever_they_are(key: VerificationKey) -> None:
    """The neutral point as R ends in 31 zeros, so cutting some would lose nothing."""
    r, s = _signature(0, _encode((0, 1)))
    end = s.to_bytes(32, "little")
    assert key.verify(_DATA, r + end) is True
    for size in (0, 1, 31):
        assert key.verify(_DATA, r[:size] + end) is False
        assert key.verify(_DATA, r + end[:size]) is False
    for other in (b"\0" + r + end, r + b"\0" + end, r + end + b"\0", r + end + _PUBLIC):
        assert key.verify(_DATA, other) is False


def _rejection(octets: bytes) -> str:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(octets).decode()}
    (rejected,) = KeySet.from_jwks({"keys": [jwk]}).rejected
    return rejected.reason


@pytest.mark.parametrize("multiple", range(8))
def test_a_key_of_small_order_is_rejected(multiple: int) -> None:
    """The neutral point and S = 0 sign everything for the neutral key, an eighth for others."""
    assert "small order" in _rejection(_encode(_times(multiple, _TORSION)))


@pytest.mark.parametrize("y", [1 | 1 << 255, _P - 1 | 1 << 255])
def test_a_key_of_small_order_with_an_impossible_sign_is_rejected(y: int) -> None:
    assert "small order" in _rejection(y.to_bytes(32, "little"))


@pytest.mark.parametrize("y", [*range(_P, 2**255)])
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_that_is_not_spelt_canonically_is_rejected(y: int, sign: int) -> None:
    """Section 5.1.3, step 1: 19 values of y have a second spelling."""
    assert "numbers" in _rejection((y | sign << 255).to_bytes(32, "little"))
