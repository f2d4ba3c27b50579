# SPDX-License-Identifier: Apache-2.0
"""What a client is registered with beside its name, its credentials and its scopes.

The names are those of the IANA registry "OAuth Dynamic Client Registration Metadata" (RFC 7591
section 4) where it has one. All of it is one JSON document in the register: a client has few of
these, and none of them is searched for.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from keyfob.errors import ConfigError

__all__ = ["NO_METADATA", "ClientMetadata", "check_metadata", "metadata_text", "read_metadata"]


class ClientMetadata(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The registered metadata of one client; each has a default, which is not written down.

    Attributes:
        dpop_bound_access_tokens: Whether each request for a token needs a DPoP proof (RFC 9449
            section 5.2).
        access_token_format: Whether its access tokens are JWTs or opaque; empty: as the server's.
        access_token_confirmation: What its tokens are bound to without being asked: ``jwk``, a key
            that it has registered; ``symmetric``, a key that comes with each token, which then is
            opaque; empty: to nothing.
        may_act_for: The devices that this gateway may get tokens for (``name_patterns``).
    """

    dpop_bound_access_tokens: bool = False
    access_token_format: Literal["", "jwt", "opaque"] = ""
    access_token_confirmation: Literal["", "jwk", "symmetric"] = ""
    may_act_for: tuple[str, ...] = ()


NO_METADATA: Final = ClientMetadata()
_NOTHING: Final = "{}"
_DECODER: Final = msgspec.json.Decoder(ClientMetadata)


def check_metadata(metadata: ClientMetadata, *, has_keys: bool) -> None:
    """Refuse a registration that contradicts itself.

    Args:
        metadata: What the operator wants.
        has_keys: Whether the client registers public keys.

    Raises:
        ConfigError: The message says what does not go together.
    """
    bound_to = metadata.access_token_confirmation
    if bound_to and metadata.dpop_bound_access_tokens:
        raise ConfigError("a token is bound to one key: by DPoP, or to a key of the client's own")
    if bound_to == "symmetric" and metadata.access_token_format == "jwt":  # noqa: S105
        raise ConfigError(
            "a token that is bound to a symmetric key is opaque: whoever reads a JWT would have"
            " the key"
        )
    if bound_to == "jwk" and not has_keys:
        raise ConfigError("there is no registered key to bind tokens to; register one with it")


def metadata_text(metadata: ClientMetadata) -> str:
    """Return what the register keeps."""
    return msgspec.json.encode(metadata).decode()


def read_metadata(text: str) -> ClientMetadata:
    """Return what ``metadata_text`` wrote.

    Raises:
        ConfigError: The register holds what this Keyfob does not know.
    """
    if text == _NOTHING:
        return NO_METADATA
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"the register holds client metadata of another Keyfob: {error}"
        ) from None
