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
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import checked_identity
from keyfob.server.name_patterns import check_patterns
from keyfob.tokens import json_strict

__all__ = [
    "NO_METADATA",
    "NO_METADATA_TEXT",
    "ClientMetadata",
    "check_metadata",
    "given_metadata",
    "metadata_text",
    "read_metadata",
    "shown_metadata",
]


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
        client_name: What it is called for people.
        software_id: Which software it is (RFC 7591 section 2).
        software_version: And which version.
        token_endpoint_auth_method: How it said that it would authenticate; empty where it did not.
        registration_access_hash: Of the token that manages its registration (RFC 7592); empty: it
            was registered by an operator. It goes with the client, so it never fits a later one of
            the same name.
        registration_access_previous: Of the token before, until the new one is used for the first
            time: an answer may get lost on its way.
        tls_client_auth_subject_dn: The subject of its certificate (RFC 8705 section 2.1.2), as
            the other four of the kind; one of them, or of the next, at most.
        tls_client_auth_san_dns: A dNSName of it.
        tls_client_auth_san_uri: A uniformResourceIdentifier of it.
        tls_client_auth_san_ip: An iPAddress of it.
        tls_client_auth_san_email: A rfc822Name of it.
        tls_client_certificate_thumbprints: Of its certificates (``x5t#S256``), by which it
            authenticates without an authority; where it registered them in ``jwks`` (section 2.2),
            they are what is kept.
        tls_client_certificate_bound_access_tokens: Its tokens are bound to the certificate that
            it shows (section 3.4).
        may_act_for: The devices that this gateway may get tokens for (``name_patterns``).
    """

    dpop_bound_access_tokens: bool = False
    access_token_format: Literal["", "jwt", "opaque"] = ""
    access_token_confirmation: Literal["", "jwk", "symmetric"] = ""
    client_name: str = ""
    software_id: str = ""
    software_version: str = ""
    token_endpoint_auth_method: str = ""
    registration_access_hash: str = ""
    registration_access_previous: str = ""
    tls_client_auth_subject_dn: str = ""
    tls_client_auth_san_dns: str = ""
    tls_client_auth_san_uri: str = ""
    tls_client_auth_san_ip: str = ""
    tls_client_auth_san_email: str = ""
    tls_client_certificate_thumbprints: tuple[str, ...] = ()
    tls_client_certificate_bound_access_tokens: bool = False

    @property
    def certificate(self) -> CertificateIdentity:
        """What its certificate has to be; empty where it does not authenticate by one."""
        if self is NO_METADATA:  # nearly every device
            return _NO_CERTIFICATE
        return CertificateIdentity(
            subject_dn=self.tls_client_auth_subject_dn,
            san_dns=self.tls_client_auth_san_dns,
            san_uri=self.tls_client_auth_san_uri,
            san_ip=self.tls_client_auth_san_ip,
            san_email=self.tls_client_auth_san_email,
            thumbprints=self.tls_client_certificate_thumbprints,
        )

    def with_certificate(self, identity: CertificateIdentity) -> ClientMetadata:
        """Return this with another certificate; an empty identity takes it away."""
        return msgspec.structs.replace(
            self,
            tls_client_auth_subject_dn=identity.subject_dn,
            tls_client_auth_san_dns=identity.san_dns,
            tls_client_auth_san_uri=identity.san_uri,
            tls_client_auth_san_ip=identity.san_ip,
            tls_client_auth_san_email=identity.san_email,
            tls_client_certificate_thumbprints=identity.thumbprints,
        )

    may_act_for: tuple[str, ...] = ()


NO_METADATA: Final = ClientMetadata()
_NO_CERTIFICATE: Final = CertificateIdentity()
NO_METADATA_TEXT: Final = "{}"
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
    if metadata.tls_client_certificate_bound_access_tokens and (
        bound_to or metadata.dpop_bound_access_tokens
    ):
        raise ConfigError("a token is bound in one way: to a certificate, or to a key")
    if bound_to and metadata.dpop_bound_access_tokens:
        raise ConfigError("a token is bound to one key: by DPoP, or to a key of the client's own")
    if bound_to == "symmetric" and metadata.access_token_format == "jwt":  # noqa: S105
        raise ConfigError(
            "a token that is bound to a symmetric key is opaque: whoever reads a JWT would have"
            " the key"
        )
    if bound_to == "jwk" and not has_keys:
        raise ConfigError("there is no registered key to bind tokens to; register one with it")


def shown_metadata(metadata: ClientMetadata) -> ClientMetadata:
    """Return what operators are shown of it: not by what the client manages its registration."""
    return msgspec.structs.replace(
        metadata, registration_access_hash="", registration_access_previous=""
    )


def given_metadata(document: bytes) -> ClientMetadata:
    """Read what somebody wants a client to be registered with; see ``check_metadata`` besides.

    Args:
        document: A JSON object of the members above.

    Raises:
        ConfigError: It is not, its certificate or a pattern is not allowed, or it has what only
            the registration of a client itself makes.
    """
    try:
        json_strict.loads(document)  # names a member twice
        metadata = _DECODER.decode(document)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the metadata is not a client's: {str(error)[:120]}") from None
    except (msgspec.DecodeError, json_strict.JsonError, UnicodeDecodeError):
        raise ConfigError("the metadata is not JSON, or names a member twice") from None
    if metadata != shown_metadata(metadata):  # whoever knew the token would manage the client
        raise ConfigError("by what a client manages its registration is nobody's to say")
    if metadata.certificate:
        metadata = metadata.with_certificate(checked_identity(metadata.certificate))
    if metadata.may_act_for:
        patterns = check_patterns(metadata.may_act_for)
        metadata = msgspec.structs.replace(metadata, may_act_for=patterns)
    return metadata


def metadata_text(metadata: ClientMetadata) -> str:
    """Return what the register keeps."""
    return msgspec.json.encode(metadata).decode()


def read_metadata(text: str) -> ClientMetadata:
    """Return what ``metadata_text`` wrote.

    Raises:
        ConfigError: The register holds what this Keyfob does not know.
    """
    if text == NO_METADATA_TEXT:
        return NO_METADATA
    try:
        return _DECODER.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"the register holds client metadata of another Keyfob: {error}"
        ) from None
