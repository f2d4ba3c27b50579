# SPDX-License-Identifier: Apache-2.0
"""Good access tokens, one of each algorithm, and whoever trusts them.

They are kept and not made, so that a failing input means the same thing tomorrow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet

__all__ = ["ISSUERS", "JWKS", "KEYS", "NOW", "TOKENS"]

_FILE: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "corpus" / "signed_tokens.json").read_text(encoding="utf-8")
)
_ISSUER: Final = TrustedIssuer(
    name="example",
    issuer="https://as.example",
    audiences=frozenset({"mqtt"}),
    algorithms=frozenset({"ES256", "EdDSA", "RS256", "PS256"}),
)

NOW: Final = float(_FILE["now"])
JWKS: Final[dict[str, Any]] = _FILE["jwks"]
TOKENS: Final = tuple(token.encode("ascii") for token in _FILE["tokens"])
ISSUERS: Final = {_ISSUER.issuer: _ISSUER}
KEYS: Final = {_ISSUER.issuer: KeySet.from_jwks(JWKS)}
