# SPDX-License-Identifier: Apache-2.0
"""Keys of nobody: what an assertion is checked with where there is no key to check it with.

So that an unknown client, one without keys, and a known one with a wrong signature cost the same
work: one key set is read, one signature checked. Nothing that such a key says is ever believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keyfob.tokens.keys import KeySet, VerificationKey
from keyfob.tokens.signatures import ALGORITHMS

__all__ = ["Decoy", "decoy_for"]

# The private halves were thrown away when these were made.
_JWKS: Final[Mapping[str, Mapping[str, str]]] = {
    "EC": {
        "kty": "EC",
        "crv": "P-256",
        "x": "H5N8d-65oH3_IzoCbGktsTT-GvtGg8MEIx2yXW1JO-Q",
        "y": "M80mCpSlz4Oakg-vTOSyb2esR77I8P6-8QPITu2jd0c",
    },
    "OKP": {"kty": "OKP", "crv": "Ed25519", "x": "7f3tQ3zbA7ouhSi_BmE4ThGAeQAjBSHVPIcUeAP3IY0"},
    "RSA": {
        "kty": "RSA",
        "n": "z3F_JMpomkV9NIiPlSJk7KcD6fVW2d9g2S4mKp0r0NTzJwN60c6zxLY-5HbnAs-mDNVo5f3-8jV963jM9E"
        "jXdgtZT5iJmNYgm-B_t6PZamCiE_anjtPBoVBjgO-v1DcwBViL97n_WWitP65vESE93KBoJFTD3w0TbQUdJkIg"
        "pWM8ltEZFuo46KWaXYhWIOg8fqWwJVThm3UlnQdFsPi1puowBlmT1pVNmXrmzafgsTk40AHTqUflfSXKREOEa6"
        "Sr_f56hE5HF8KDG5LdBB2d08_YBsLpJyvG3D1QEa0DdGVSgAlsMKmsY6kHHD35Ug94yxbQ0TQa4jCRW4IpuYof"
        "Dw",
        "e": "AQAB",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoy:
    """A key set as a client would have registered it, and its one key."""

    jwks: str
    key: VerificationKey


def decoy_for(algorithm: str) -> Decoy:
    """Return the decoy for an algorithm, by any of its names in ``ALGORITHMS``."""
    return _DECOYS[ALGORITHMS[algorithm].name]


def _decoy(key_type: str, algorithm: str) -> Decoy:
    jwks = {"keys": [{**_JWKS[key_type], "alg": algorithm, "kid": "nobody"}]}
    return Decoy(jwks=json.dumps(jwks), key=KeySet.from_jwks(jwks).keys[0])


_DECOYS: Final = {one.name: _decoy(one.key_type, one.name) for one in ALGORITHMS.values()}
