# SPDX-License-Identifier: Apache-2.0
"""What holds for a signature of every algorithm; the tricks of each have a file of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from keyfob.tokens.keys import ALGORITHMS, KeySet, VerificationKey
from keyfob.tokens.sign import SigningKey

_DATA = b"signing.input"


@pytest.fixture(scope="session")
def verifiers(signing_keys: Mapping[str, SigningKey]) -> Mapping[str, VerificationKey]:
    return {
        alg: KeySet.from_jwks({"keys": [key.public_jwk()]}).keys[0]
        for alg, key in signing_keys.items()
    }


def test_only_asymmetric_algorithms_exist() -> None:
    assert set(ALGORITHMS) == {"ES256", "RS256", "PS256", "EdDSA", "Ed25519"}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signature_verifies_over_its_own_input_only(
    alg: str, signing_keys: Mapping[str, SigningKey], verifiers: Mapping[str, VerificationKey]
) -> None:
    signature = signing_keys[alg].signature(_DATA)
    assert verifiers[alg].verify(_DATA, signature) is True
    assert verifiers[alg].verify(_DATA + b"x", signature) is False


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda signature: signature[:0],
        lambda signature: signature[:-1],
        lambda signature: signature + b"\0",
        lambda signature: b"\0" + signature,
        lambda signature: bytes(len(signature)),
        lambda signature: b"\xff" * len(signature),
        lambda signature: signature[:-1] + bytes([signature[-1] ^ 1]),
        lambda signature: bytes([signature[0] ^ 0x80]) + signature[1:],
        lambda signature: signature * 2,
        lambda signature: signature * 1000,
    ],
    ids=["empty", "short", "long", "shifted", "zero", "ones", "last", "first", "twice", "huge"],
)
def test_a_spoilt_signature_is_false_and_never_an_error(
    alg: str,
    spoil: Callable[[bytes], bytes],
    signing_keys: Mapping[str, SigningKey],
    verifiers: Mapping[str, VerificationKey],
) -> None:
    signature = spoil(signing_keys[alg].signature(_DATA))
    assert verifiers[alg].verify(_DATA, signature) is False
