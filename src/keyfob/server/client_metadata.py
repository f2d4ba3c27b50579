# SPDX-License-Identifier: Apache-2.0
"""What a client is registered with beside its name, its credentials and its scopes.

The names are those of the IANA registry "OAuth Dynamic Client Registration Metadata" (RFC 7591
section 4) where it has one. All of it is one JSON document in the register: a client has few of
these, and none of them is searched for.
"""

from __future__ import annotations

from typing import Final

import msgspec

from keyfob.errors import ConfigError

__all__ = ["NO_METADATA", "ClientMetadata", "metadata_text", "read_metadata"]


class ClientMetadata(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """The registered metadata of one client; each has a default, which is not written down."""


NO_METADATA: Final = ClientMetadata()
_NOTHING: Final = "{}"
_DECODER: Final = msgspec.json.Decoder(ClientMetadata)


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
