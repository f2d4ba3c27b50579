# SPDX-License-Identifier: Apache-2.0
"""ES256 at its edges, with keys and signatures made from integers (FIPS 186-5 section 6.4).

A verifier gets the edges wrong where it compares, inverts or adds without thinking of zero, of
the group's order, or of the point at infinity. Honest signers practically never come there, so
these keys are computed from the signature that they shall have.
"""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from keyfob.tokens import base64url
from keyfob.tokens.keys import KeySet, VerificationKey

# SEC 2 section 2.4.2: the field, the curve's b, the generator and its order.
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

_DATA = b"signing.input"
_Z = int.from_bytes(hashlib.sha256(_DATA).digest(), "big")
_MAX = 2**256 - 1

Point = tuple[int, int]


def _add(a: Point | None, b: Point | None) -> Point | None:
    """Add two points; None is the one at infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % _P == 0:
        return None
    if a == b:
        slope = (3 * a[0] ** 2 - 3) * pow(2 * a[1], -1, _P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, _P)
    x = (slope**2 - a[0] - b[0]) % _P
    return x, (slope * (a[0] - x) - a[1]) % _P


def _times(factor: int, point: Point) -> Point | None:
    total: Point | None = None
    for bit in f"{factor % _N:b}":
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


def _first_point_from(x: int) -> Point:
    """The first point with that x-coordinate or a greater one."""
    while True:
        square = (x**3 - 3 * x + _B) % _P
        y = pow(square, (_P + 1) // 4, _P)
        if y * y % _P == square:
            return x, y
        x += 1


def _verifier(point: Point | None) -> VerificationKey:
    assert point is not None
    x, y = (base64url.encode(number.to_bytes(32, "big")).decode() for number in point)
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return KeySet.from_jwks({"keys": [jwk]}).keys[0]


def _verifier_of(secret: int) -> VerificationKey:
    return _verifier(_times(secret, _G))


def _key_whose_signature_is(nonce_point: Point, s: int) -> VerificationKey:
    """The key for which (r, s) signs the data: Q = (sR - zG) / r (SEC 1 section 4.1.6)."""
    inverse = pow(nonce_point[0], -1, _N)
    return _verifier(_add(_times(s * inverse, nonce_point), _times(-_Z * inverse, _G)))


def _raw(r: int, s: int) -> bytes:
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _x_of_multiple(nonce: int) -> int:
    point = _times(nonce, _G)
    assert point is not None
    return point[0] % _N


_SMALL = _first_point_from(1)  # r = x
_WRAPPED = _first_point_from(_N)  # x >= n, so r = x - n


def test_the_arithmetic_of_this_file_is_the_curves() -> None:
    for secret in (1, 2, 3, _N - 1, 2**200 + 12345):
        numbers = ec.derive_private_key(secret, ec.SECP256R1()).public_key().public_numbers()
        assert _times(secret, _G) == (numbers.x, numbers.y)
    assert _times(_N, _G) is None


@pytest.mark.parametrize("s", [1, 2, 2**128, _N // 2, _N - 2, _N - 1])
@pytest.mark.parametrize("point", [_SMALL, _WRAPPED], ids=["small", "wrapped"])
def test_the_least_and_the_greatest_r_and_s_verify(point: Point, s: int) -> None:
    key = _key_whose_signature_is(point, s)
    assert key.verify(_DATA, _raw(point[0] % _N, s)) is True
    assert key.verify(_DATA + b"x", _raw(point[0] % _N, s)) is False


@pytest.mark.attack("J6")
@pytest.mark.parametrize("s", [1, 2, 2**128])
def test_r_and_s_beyond_the_order_are_false_although_they_are_the_same_residues(s: int) -> None:
    """Both still fit into 32 bytes; a verifier that reduces them gives a signature two forms."""
    key = _key_whose_signature_is(_SMALL, s)
    r = _SMALL[0]
    assert key.verify(_DATA, _raw(r, s)) is True
    assert key.verify(_DATA, _raw(r + _N, s)) is False
    assert key.verify(_DATA, _raw(r, s + _N)) is False
    assert key.verify(_DATA, _raw(r + _N, s + _N)) is False


def test_an_r_that_is_not_reduced_is_false_although_it_is_the_points_coordinate() -> None:
    key = _key_whose_signature_is(_WRAPPED, 7)
    assert _N <= _WRAPPED[0] < _P
    assert key.verify(_DATA, _raw(_WRAPPED[0] - _N, 7)) is True
    assert key.verify(_DATA, _raw(_WRAPPED[0], 7)) is False


@pytest.mark.attack("J6")
@pytest.mark.parametrize(
    "r", [_SMALL[0] + 1, _N - _SMALL[0], _P - _N + _SMALL[0], 2**256 - _N + _SMALL[0]]
)
def test_an_r_that_only_overflow_would_make_right_is_false(r: int) -> None:
    """The key is the one that such an r leads to; its nonce point has another x-coordinate."""
    inverse = pow(r, -1, _N)
    key = _verifier(_add(_times(7 * inverse, _SMALL), _times(-_Z * inverse, _G)))
    assert key.verify(_DATA, _raw(r, 7)) is False


def test_integers_without_their_leading_zeros_or_with_more_are_false() -> None:
    """R and S have 32 bytes each, whatever their values (RFC 7518 section 3.4)."""
    r, s = _SMALL[0], 1
    key = _key_whose_signature_is(_SMALL, s)
    assert key.verify(_DATA, _raw(r, s)) is True
    for size in (1, 2, 8, 31, 33, 48, 64, 256):
        short_r, short_s = r.to_bytes(size, "big"), s.to_bytes(size, "big")
        assert key.verify(_DATA, short_r + short_s) is False
        assert key.verify(_DATA, r.to_bytes(32, "big") + short_s) is False
        assert key.verify(_DATA, short_r + s.to_bytes(32, "big")) is False
    assert key.verify(_DATA, _raw(r, s) + bytes(2)) is False
    for high in (256, 320):
        assert key.verify(_DATA, (r + 2**high).to_bytes(48, "big") + bytes(47) + b"\1") is False
        assert key.verify(_DATA, r.to_bytes(48, "big") + (s + 2**high).to_bytes(48, "big")) is False


def test_the_negated_s_is_the_one_other_form_of_a_signature() -> None:
    """ECDSA's own property, which JWS does not take away: no signature identifies a token."""
    key = _key_whose_signature_is(_SMALL, 7)
    r = _SMALL[0]
    assert key.verify(_DATA, _raw(r, _N - 7)) is True
    assert key.verify(_DATA, _raw(_N - r, 7)) is False
    assert key.verify(_DATA, _raw(_N - r, _N - 7)) is False
    assert key.verify(_DATA, _raw(7, r)) is False


@pytest.mark.parametrize("secret", [1, 2, _N - 2, _N - 1, _N // 2, _N // 2 + 1])
def test_keys_beside_the_generator_verify_their_own_signatures_only(secret: int) -> None:
    """Keys that share an x-coordinate with the generator or its double."""
    private = ec.derive_private_key(secret, ec.SECP256R1())
    r, s = utils.decode_dss_signature(private.sign(_DATA, ec.ECDSA(SHA256())))
    assert _verifier_of(secret).verify(_DATA, _raw(r, s)) is True
    assert _verifier_of(_N - secret).verify(_DATA, _raw(r, s)) is False


@pytest.mark.parametrize("nonce", [3, 2**100, _N - 3])
def test_a_check_whose_two_summands_are_equal_is_true(nonce: int) -> None:
    """u1*G = u2*Q: an addition that forgets to double gives infinity or nonsense."""
    r = _x_of_multiple(nonce)
    secret = _Z * pow(r, -1, _N) % _N
    s = 2 * _Z * pow(nonce, -1, _N) % _N
    assert _verifier_of(secret).verify(_DATA, _raw(r, s)) is True


@pytest.mark.parametrize("s", [1, 2, _N // 2, _N - 1])
def test_a_check_that_ends_at_infinity_is_false(s: int) -> None:
    """u1*G = -u2*Q: infinity has no x-coordinate, and none equals r."""
    secret = 2**200 + 12345
    r = -_Z * pow(secret, -1, _N) % _N
    assert _verifier_of(secret).verify(_DATA, _raw(r, s)) is False


_EDGES = [0, 1, _N - 1, _N, _N + 1, _P, _P + 1, _MAX]


@pytest.mark.attack("J6")
@pytest.mark.parametrize("r", _EDGES)
@pytest.mark.parametrize("s", _EDGES)
def test_psychic_signatures_are_false(r: int, s: int) -> None:
    """CVE-2022-21449: zero, or the group's order, in place of r or s."""
    for secret in (1, _N - 1, 2**200 + 12345):
        assert _verifier_of(secret).verify(_DATA, _raw(r, s)) is False


@pytest.mark.attack("J6")
def test_a_signature_in_der_is_false() -> None:
    key = _key_whose_signature_is(_SMALL, 7)
    assert key.verify(_DATA, _raw(_SMALL[0], 7)) is True
    assert key.verify(_DATA, utils.encode_dss_signature(_SMALL[0], 7)) is False
