# SPDX-License-Identifier: Apache-2.0
"""Who is asking: client authentication (RFC 6749 section 2.3), one file for each way to do it.

    presented        which way a request takes, and as whom     no look at the register
    secret           client_secret_basic, client_secret_post, none
    assertion        what an assertion must say                 RFC 7521, RFC 7523; pure
    certificate      tls_client_auth, self_signed_tls_client_auth    RFC 8705
    private_key_jwt  whose it is, and that it is used once
    authenticator    composes them

A way to authenticate is two things: a row of ``presented``'s table, which makes a value of a type
of its own out of a request, and a ``Method``, which proves such a value. What a client has
registered (a secret, keys, a certificate, several of these, none) is all that can prove it: a
client with keys only has no secret that could be right, and the other way round.
"""

from __future__ import annotations

from typing import Final

from keyfob.server.client_authentication.authenticator import (
    ClientAuthenticator,
    client_authenticator,
)
from keyfob.server.client_authentication.presented import Presented, presented
from keyfob.server.client_authentication.proven import ClientStore, Method, Proven

__all__ = [
    "METHODS",
    "SERVICE_METHODS",
    "ClientAuthenticator",
    "ClientStore",
    "Method",
    "Presented",
    "Proven",
    "client_authenticator",
    "presented",
]

SERVICE_METHODS: Final = ("client_secret_basic", "client_secret_post")
"""What a service may use: it has no keys of its own."""
METHODS: Final = (*SERVICE_METHODS, "private_key_jwt")
"""What a confidential client may use everywhere, by the names of RFC 7591 section 2."""
