# SPDX-License-Identifier: Apache-2.0
"""What a client says of itself when it registers (RFC 7591 section 2), held against what it may be.

What is not known is ignored, as section 2 wants; what is known is strict. The server answers with
what it made of it, which may be other than what was asked for: a client of Keyfob has no
redirection, so ``redirect_uris`` means nothing here. Never fetched: ``jwks_uri`` is refused, so
that nobody can make the server ask somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keyfob.errors import ConfigError
from keyfob.server.client_keys import client_jwks
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.registration.initial_tokens import Template
from keyfob.server.scopes import narrowed

__all__ = ["DEVICE_ID", "ClientWish", "read_update", "read_wish"]

DEVICE_ID: Final = "device_id"
"""Our own member: the name that a device wants, which is its ``client_id`` then."""
_MAX_TEXT: Final = 128
_MAX_LIST: Final = 16
_DEFAULT_METHOD: Final = "client_secret_basic"  # RFC 7591 section 2
# Those that only the server says, which RFC 7592 section 2.2 forbids in an update.
_SERVERS: Final = (
    *("registration_access_token", "registration_client_uri"),
    *("client_secret_expires_at", "client_id_issued_at"),
)


_CERTIFICATE: Final = tuple(
    name for name in ClientMetadata.__struct_fields__ if name.startswith("tls_client_")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientWish:
    """What a client shall be; all of it is allowed.

    Args:
        name: The name that it wants; empty: any.
        auth_method: How it authenticates.
        jwks: Its public keys, as they are kept; None without.
        grant_types: The grants it may use.
        scope: What it asked for; None: all that there is.
        client_name: What it is called for people.
        software_id: Which software it is.
        software_version: And which version.
        dpop_bound: Whether its tokens are to be bound by DPoP, each of them (RFC 9449 section 5.2).
    """

    name: str
    auth_method: str
    jwks: str | None
    grant_types: tuple[str, ...]
    scope: str | None
    client_name: str
    software_id: str
    software_version: str
    dpop_bound: bool

    @property
    def has_secret(self) -> bool:
        """Whether it authenticates by a secret."""
        return self.auth_method.startswith("client_secret_")

    def scopes(self, registered: tuple[str, ...]) -> tuple[str, ...]:
        """Return the scopes that it gets of those that it may have.

        Raises:
            OAuthError: ``invalid_client_metadata``: it asked for more.
        """
        try:
            return narrowed(registered, self.scope)
        except OAuthError as error:
            raise _refused("scope", error.description) from None


def read_wish(document: Mapping[str, Any], template: Template) -> ClientWish:
    """Parse the metadata of a client that registers.

    Args:
        document: The request, as JSON without repeated members.
        template: What it may be at most.

    Raises:
        OAuthError: ``invalid_client_metadata``, ``invalid_software_statement``.
    """
    _refuse_unsupported(document)
    name = ""
    if template.kind == "device":
        name = _text(document, DEVICE_ID)
        if name and not (is_name(name) and name.startswith(template.prefix)):
            raise _refused(DEVICE_ID, "is no name that this token may give")
    method = _text(document, "token_endpoint_auth_method")
    if not method:  # the server may say otherwise where its default is not allowed
        allowed = template.auth_methods
        method = _DEFAULT_METHOD if _DEFAULT_METHOD in allowed else allowed[0]
    return _wish(document, template, name=name, method=method)


def read_update(
    document: Mapping[str, Any], client_id: str, current: Template, method: str
) -> ClientWish:
    """Parse the metadata of a client that changes its registration (RFC 7592 section 2.2).

    Args:
        document: The request.
        client_id: Which client it is.
        current: What it is now: an update never makes it more.
        method: How it authenticates now; between secret and keys there is no way by an update.

    Raises:
        OAuthError: ``invalid_client_metadata``, ``invalid_software_statement``.
    """
    if document.get("client_id") != client_id:
        raise _refused("client_id", "is missing, or is another")
    if document.get(DEVICE_ID, client_id) != client_id:
        raise _refused(DEVICE_ID, "is another")
    for name in _SERVERS:
        if name in document:
            raise _refused(name, "is not the client's to say")
    _refuse_unsupported(document)
    wanted = _text(document, "token_endpoint_auth_method") or method
    return _wish(document, current, name=client_id, method=wanted)


def _wish(document: Mapping[str, Any], template: Template, *, name: str, method: str) -> ClientWish:
    if method not in template.auth_methods:
        raise _refused("token_endpoint_auth_method", "is not allowed")
    jwks = _jwks(document)
    if (jwks is not None) != (method == "private_key_jwt"):
        raise _refused("jwks", "goes with private_key_jwt, and with nothing else")
    grants = _texts(document, "grant_types")
    if grants is not None and (not grants or not set(grants) <= set(template.grant_types)):
        raise _refused("grant_types", "are not all allowed")
    if template.kind == "application" and "scope" in document:
        document = {**document, "scope": ""}  # its tokens say what the devices are registered for
    return ClientWish(
        name=name,
        auth_method=method,
        jwks=jwks,
        grant_types=template.grant_types if grants is None else grants,
        scope=_text(document, "scope", limit=None) or None,
        client_name=_text(document, "client_name"),
        software_id=_text(document, "software_id"),
        software_version=_text(document, "software_version"),
        dpop_bound=_flag(document, "dpop_bound_access_tokens"),
    )


def _refuse_unsupported(document: Mapping[str, Any]) -> None:
    if "software_statement" in document:
        raise OAuthError(
            "invalid_software_statement",
            "software statements are not supported",
            reason="software_statement",
        )
    if "jwks_uri" in document:
        raise _refused("jwks_uri", "is not fetched: send jwks")
    for name in _CERTIFICATE:
        if document.get(name):  # ignored, it would think that its tokens are bound
            raise _refused(name, "is for an operator to register")
    if _texts(document, "response_types"):
        raise _refused("response_types", "are none here: there is no authorization endpoint")


def _jwks(document: Mapping[str, Any]) -> str | None:
    keys = document.get("jwks")
    if keys is None:
        return None
    if not isinstance(keys, dict):
        raise _refused("jwks", "is no JWK Set")
    try:
        return client_jwks(msgspec.json.encode(keys))
    except ConfigError as error:
        raise _refused("jwks", error.message) from None


def _text(document: Mapping[str, Any], name: str, *, limit: int | None = _MAX_TEXT) -> str:
    value = document.get(name, "")
    # A scope has its own bound (``narrowed``), and a body too.
    if not isinstance(value, str) or (limit is not None and len(value) > limit):
        raise _refused(name, f"is no text of {limit} characters at most")
    if not value.isprintable():
        raise _refused(name, "has characters that cannot be printed")
    return value


def _flag(document: Mapping[str, Any], name: str) -> bool:
    value = document.get(name, False)
    if not isinstance(value, bool):
        raise _refused(name, "is true or false")
    return value


def _texts(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = document.get(name)
    if value is None:
        return None
    if (
        not isinstance(value, Sequence)
        or isinstance(value, str)
        or len(value) > _MAX_LIST
        or not all(isinstance(one, str) for one in value)
    ):
        raise _refused(name, f"is no list of {_MAX_LIST} texts at most")
    return tuple(dict.fromkeys(value))


def _refused(member: str, why: str) -> OAuthError:
    return OAuthError("invalid_client_metadata", f"{member} {why}", reason=f"metadata_{member}")
