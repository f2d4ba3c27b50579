# SPDX-License-Identifier: Apache-2.0
"""What ``[server]`` asks of the ``[[issuer]]`` that trusts it, where one file holds both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keyfob.config.secret_reference import SecretReference
from keyfob.config.sections import IssuerSection, ServerSection
from keyfob.config.source import Source
from keyfob.errors import ConfigError

__all__ = ["check_own_issuer"]

# RFC 9864 section 2.2: two names of one algorithm.
_SAME: Final = {"EdDSA": "Ed25519"}


def check_own_issuer(
    server: ServerSection, issuers: Sequence[IssuerSection], source: Source
) -> None:
    """Refuse a server whose tokens the guard beside it would refuse, and a bare secret.

    Raises:
        ConfigError: What is wrong, with its line.
    """
    if server.key_encryption:
        try:
            SecretReference.parse(server.key_encryption, source.path.parent)
        except ConfigError as error:
            raise source.wrong("server.key_encryption", error.message) from error
    signs = server.signing_algorithm
    for place, issuer in enumerate(issuers):
        if issuer.issuer != server.issuer:
            continue
        opaque = server.access_token_format == "opaque"  # noqa: S105 - a form
        if opaque and issuer.introspection is None:
            raise source.wrong(
                "server.access_token_format",
                f"nobody can read opaque tokens without asking; give [[issuer]] {issuer.name} an"
                " [issuer.introspection]",
            )
        if not issuer.algorithms:  # no JWT is accepted
            continue
        if signs not in issuer.algorithms and _SAME.get(signs) not in issuer.algorithms:
            wanted = ", ".join(f'"{name}"' for name in (*issuer.algorithms, signs))
            raise source.wrong(
                f"issuer.{place}.algorithms",
                f"[server] signs with {signs}, which is not among them; write"
                f" algorithms = [{wanted}]",
            )
