# SPDX-License-Identifier: Apache-2.0
"""Which way to authenticate a request takes: exactly one (RFC 6749 section 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from keyfob.http.client_certificate import ClientCertificate
from keyfob.server.client_authentication.assertion import PresentedAssertion, read_assertion
from keyfob.server.client_authentication.certificate import PresentedCertificate
from keyfob.server.client_authentication.secret import PresentedSecret, read_basic, read_post
from keyfob.server.oauth_errors import invalid_client, invalid_request

__all__ = ["Presented", "presented"]

Presented: TypeAlias = PresentedSecret | PresentedAssertion | PresentedCertificate
"""The credentials in a request; each has ``client_id``, who it claims to come from."""

_Parameters: TypeAlias = Mapping[str, str]

# The parameters that only this way has, and what reads it.
_IN_FORM: Final[tuple[tuple[frozenset[str], Callable[[_Parameters], Presented]], ...]] = (
    (frozenset({"client_secret"}), read_post),
    (frozenset({"client_assertion", "client_assertion_type"}), read_assertion),
)


def presented(
    authorization: Sequence[str],
    parameters: Mapping[str, str],
    certificate: ClientCertificate | None = None,
) -> Presented:
    """Find the credentials in a request.

    Args:
        authorization: The values of its Authorization headers.
        parameters: Its form parameters; empty ones are not in it.
        certificate: What the client has shown on its connection. Beside one of the other ways it
            is none of its own: tokens are bound to it (RFC 8705 section 3).

    Raises:
        OAuthError: ``invalid_request`` for more than one way to authenticate,
            ``invalid_client`` for none, or one that is not offered.
    """
    in_form = [read for names, read in _IN_FORM if not names.isdisjoint(parameters)]
    if len(authorization) + len(in_form) > 1:
        raise invalid_request(
            "the client authenticates in more than one way", reason="two_authentications"
        )
    client_id = parameters.get("client_id")
    if authorization:
        found: Presented = read_basic(authorization[0])
    elif in_form:
        found = in_form[0](parameters)
    elif client_id is not None and certificate is not None:
        found = PresentedCertificate(client_id=client_id, certificate=certificate)
    elif client_id is not None:
        found = PresentedSecret(client_id=client_id, secret="")
    else:
        raise invalid_client("credentials_missing")
    if client_id not in (None, found.client_id):
        raise invalid_request("two client identifiers", reason="two_client_ids")
    return found
