# SPDX-License-Identifier: Apache-2.0
"""The tree of errors, by whose fault it is.

    KeyfobError
      TokenError            the bearer's: a token that is not accepted
        MalformedToken        not a compact JWS, or its JSON is not what RFC 7519 says
        UntrustedToken        well formed, but issuer, key, algorithm or signature is not trusted
        ClaimError            signed by a trusted key, but a claim says no
      TopicError            a topic name or filter that MQTT does not allow
      ConfigError           the operator's: keyfob.toml or the command line
      UpstreamError         an issuer or the network: worth trying again later
        TokenUnavailable      a device has no usable token now; an OSError too, for MQTT clients
      TokenRequestError     the authorization server refuses a device its token
      BrokerRefusalError    a broker says no to a connection, a subscription or a message
      ProtocolError         a broker, a plugin or a peer that speaks wrongly
      NotFoundError         the operator named a device, client or file that is not there
      ConflictError         the operator asked for something that is there already

Every error carries a ``code`` from a closed set (``ERROR_CODES``), safe to show, log and count.
The message explains; neither ever holds a token or a secret.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ERROR_CODES",
    "BrokerRefusalError",
    "ClaimError",
    "ConfigError",
    "ConflictError",
    "KeyfobError",
    "MalformedTokenError",
    "NotFoundError",
    "ProtocolError",
    "TokenError",
    "TokenRequestError",
    "TokenUnavailableError",
    "TopicError",
    "UntrustedTokenError",
    "UpstreamError",
]

TOKEN_CODES: Final = frozenset(
    {
        # MalformedTokenError
        "token_missing",
        "token_too_long",
        "token_malformed",
        "token_encrypted",
        "duplicate_member",
        "proof_malformed",
        # UntrustedTokenError
        "algorithm_refused",
        "critical_header_refused",
        "type_refused",
        "issuer_unknown",
        "key_unknown",
        "key_refused",
        "signature_invalid",
        "token_inactive",
        "exporter_proof_unsupported",
        # ClaimError
        "claim_missing",
        "claim_invalid",
        "audience_mismatch",
        "token_expired",
        "token_not_yet_valid",
        "lifetime_too_long",
        "scope_missing",
        "confirmation_unproven",
    }
)

ERROR_CODES: Final = TOKEN_CODES | frozenset(
    {
        "topic_invalid",
        "placeholder_refused",
        "too_many_rules",
        "permissions_invalid",
        "config_invalid",
        "upstream_unavailable",
        "upstream_invalid",
        "token_refused",
        "broker_refused",
        "protocol_violation",
        "not_found",
        "conflict",
    }
)


class KeyfobError(Exception):
    """The root: every error that Keyfob raises on purpose.

    Args:
        message: What happened and what to do, without any secret.
        code: One of ``ERROR_CODES``.
    """

    default_code: str = ""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code: str = code or self.default_code
        if self.code not in ERROR_CODES:
            raise AssertionError(f"undeclared error code {self.code!r}")

    @property
    def message(self) -> str:
        """The explanation, as given."""
        return str(self.args[0])


class TokenError(KeyfobError):
    """A token that is not accepted; ``code`` is one of ``TOKEN_CODES``."""


class MalformedTokenError(TokenError):
    """Not a compact JWS (RFC 7515 section 7.1), or its JSON is not what RFC 7519 asks for."""

    default_code = "token_malformed"


class UntrustedTokenError(TokenError):
    """Issuer, key, algorithm, type or signature is not trusted (RFC 8725 section 3)."""

    default_code = "signature_invalid"


class ClaimError(TokenError):
    """Signed by a trusted key, but a claim says no (RFC 7519 section 4.1).

    Args:
        message: What happened.
        code: One of ``TOKEN_CODES``.
        claim: The claim's name.
    """

    default_code = "claim_invalid"

    def __init__(self, message: str, *, code: str = "", claim: str) -> None:
        super().__init__(message, code=code)
        self.claim = claim


class TopicError(KeyfobError):
    """A topic name or filter that MQTT 5.0 section 4.7 does not allow, or an unsafe placeholder."""

    default_code = "topic_invalid"


class ConfigError(KeyfobError):
    """The configuration or the command line is wrong; the message says where and what to write.

    Args:
        message: What is wrong.
        code: One of ``ERROR_CODES``.
        key: The setting that is wrong, for whoever knows where it was written; empty: not known.
    """

    default_code = "config_invalid"

    def __init__(self, message: str, *, code: str = "", key: str = "") -> None:
        super().__init__(message, code=code)
        self.key = key


class UpstreamError(KeyfobError):
    """An issuer or the network failed; trying again later may work."""

    default_code = "upstream_unavailable"


class TokenUnavailableError(UpstreamError, ConnectionError):
    """There is no token that could be shown now; a later try may bring one.

    A ``ConnectionError``, because that is what MQTT clients take for a reason to try again: paho's
    network thread ends without a word at anything that is no ``OSError``.

    Args:
        message: What happened.
        code: One of ``ERROR_CODES``.
        retry_after: Seconds after which the server wants to be asked again, if it said so.
    """

    def __init__(self, message: str, *, code: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class TokenRequestError(KeyfobError):
    """The authorization server refuses the token (RFC 6749 section 5.2).

    Args:
        message: What happened and what to do, without any secret.
        error: The server's ``error``, one of those that the standards know.
        status: The HTTP status.
    """

    default_code = "token_refused"

    def __init__(self, message: str, *, error: str, status: int = 400) -> None:
        super().__init__(message)
        self.error = error
        self.status = status


class BrokerRefusalError(KeyfobError):
    """A broker says no to a connection, a subscription or a message.

    Args:
        message: What it says no to, and why where it tells.
        reason_code: The code of its answer: MQTT 5.0 section 2.4, or 3.1.1 section 3.2.2.3.
    """

    default_code = "broker_refused"

    def __init__(self, message: str, *, reason_code: int) -> None:
        super().__init__(message)
        self.reason_code = reason_code


class ProtocolError(KeyfobError):
    """A peer broke the protocol that it speaks with us; the link is closed."""

    default_code = "protocol_violation"


class NotFoundError(KeyfobError):
    """Something that the operator named is not there."""

    default_code = "not_found"


class ConflictError(KeyfobError):
    """What the operator wants to add is there already, or its state forbids the wish."""

    default_code = "conflict"
