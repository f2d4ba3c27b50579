# SPDX-License-Identifier: Apache-2.0
"""The decision about a CONNECT: what was asked, what was answered, and why.

A refusal is a normal outcome, so it is a value and not an error.
Its reason is for the operator; the client learns no more than the reason code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum, auto
from types import MappingProxyType
from typing import ClassVar, Final, NoReturn

import msgspec

from keyfob.authorization.permissions import Permissions
from keyfob.mqtt.reason_codes import ReasonCode
from keyfob.tokens.confirmation import Proof

__all__ = ["ConnectRequest", "Decision", "DenyReason", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRequest:
    """What a broker tells about a CONNECT (MQTT 5.0 section 3.1).

    Args:
        client_id: The client identifier, as the broker will use it.
        username: The username as it came, or None. It may hold a token, so it is never shown.
        password: The password as it came, or None.
        authentication_method: The method of enhanced authentication (section 4.12), if any.
        authentication_data: What its exchange came to, the token; before it has begun, the data
            that the client sent first.
        peer: The address of the client, for people.
        certificate_thumbprint: SHA-256 of the client's certificate (RFC 8705), if it showed one.
        protocol_version: 3, 4 or 5.
        clean: Clean session, or Clean Start.
        assigned: The broker made up the client identifier, because the client sent none.
        proof: What its authentication method showed about the token's key, if it did.
    """

    client_id: str
    username: bytes | None = field(default=None, repr=False)
    password: bytes | None = field(default=None, repr=False)
    authentication_method: str | None = None
    authentication_data: bytes | None = field(default=None, repr=False)
    peer: str = ""
    certificate_thumbprint: bytes | None = None
    protocol_version: int = 5
    clean: bool = True
    assigned: bool = False
    proof: Proof | None = field(default=None, repr=False)


class DenyReason(StrEnum):
    """Why a CONNECT is refused; a closed set, safe to show, log and count.

    Every code of ``errors.TOKEN_CODES`` is one; a value is its name in lower case.
    """

    TOKEN_MISSING = auto()
    TOKEN_TOO_LONG = auto()
    TOKEN_MALFORMED = auto()
    TOKEN_ENCRYPTED = auto()
    DUPLICATE_MEMBER = auto()
    ALGORITHM_REFUSED = auto()
    CRITICAL_HEADER_REFUSED = auto()
    TYPE_REFUSED = auto()
    ISSUER_UNKNOWN = auto()
    KEY_UNKNOWN = auto()
    KEY_REFUSED = auto()
    SIGNATURE_INVALID = auto()
    CLAIM_MISSING = auto()
    CLAIM_INVALID = auto()
    AUDIENCE_MISMATCH = auto()
    TOKEN_EXPIRED = auto()
    TOKEN_NOT_YET_VALID = auto()
    LIFETIME_TOO_LONG = auto()
    SCOPE_MISSING = auto()
    CONFIRMATION_UNPROVEN = auto()
    PROOF_MALFORMED = auto()
    EXPORTER_PROOF_UNSUPPORTED = auto()
    CREDENTIALS_MISSING = auto()
    CREDENTIALS_AMBIGUOUS = auto()
    CLIENT_ID_MISMATCH = auto()
    CLIENT_ID_REFUSED = auto()
    SESSION_OWNED_BY_ANOTHER = auto()
    TOKEN_INACTIVE = auto()
    TOKEN_REVOKED = auto()
    KEYS_UNAVAILABLE = auto()
    INTROSPECTION_UNAVAILABLE = auto()
    GUARD_UNAVAILABLE = auto()
    PERMISSIONS_INVALID = auto()
    ENHANCED_AUTHENTICATION_UNSUPPORTED = auto()
    EXCHANGE_UNKNOWN = auto()
    IDENTITY_CHANGED = auto()
    SESSION_ENDED = auto()

    @property
    def reason_code(self) -> ReasonCode:
        """What the client is told (MQTT 5.0 section 3.2.2.2)."""
        return _ANSWERS[self][0]

    @property
    def explanation(self) -> str:
        """What the operator is told, in one sentence."""
        return _ANSWERS[self][1]


_BAD_CREDENTIALS: Final = ReasonCode.BAD_USERNAME_OR_PASSWORD
_NOT_AUTHORIZED: Final = ReasonCode.NOT_AUTHORIZED
_BAD_CLIENT_ID: Final = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
_UNAVAILABLE: Final = ReasonCode.SERVER_UNAVAILABLE
_BAD_METHOD: Final = ReasonCode.BAD_AUTHENTICATION_METHOD

# 0x86 says "what you sent is no token"; 0x88 must never look like a bad token, or a whole fleet
# would ask its authorization server for new ones; everything else about a token is 0x87.
_ANSWERS: Final = MappingProxyType(
    {
        DenyReason.TOKEN_MISSING: (_BAD_CREDENTIALS, "The field that holds the token is empty."),
        DenyReason.TOKEN_TOO_LONG: (_BAD_CREDENTIALS, "The token is longer than is accepted."),
        DenyReason.TOKEN_MALFORMED: (_BAD_CREDENTIALS, "What was sent is not a signed JWT."),
        DenyReason.TOKEN_ENCRYPTED: (_BAD_CREDENTIALS, "The token is encrypted, not only signed."),
        DenyReason.DUPLICATE_MEMBER: (_BAD_CREDENTIALS, "The token's JSON names a member twice."),
        DenyReason.ALGORITHM_REFUSED: (
            _NOT_AUTHORIZED,
            "The token is signed with an algorithm that this issuer may not use.",
        ),
        DenyReason.CRITICAL_HEADER_REFUSED: (
            _NOT_AUTHORIZED,
            "The token's header demands an extension that is not supported.",
        ),
        DenyReason.TYPE_REFUSED: (_NOT_AUTHORIZED, "The token is not an access token."),
        DenyReason.ISSUER_UNKNOWN: (_NOT_AUTHORIZED, "The token's issuer is not configured here."),
        DenyReason.KEY_UNKNOWN: (_NOT_AUTHORIZED, "The issuer has no key as the token names it."),
        DenyReason.KEY_REFUSED: (_NOT_AUTHORIZED, "The issuer's key is not fit to verify with."),
        DenyReason.SIGNATURE_INVALID: (_NOT_AUTHORIZED, "The token's signature is wrong."),
        DenyReason.CLAIM_MISSING: (_NOT_AUTHORIZED, "The token lacks a claim that it needs."),
        DenyReason.CLAIM_INVALID: (_NOT_AUTHORIZED, "A claim of the token has no valid value."),
        DenyReason.AUDIENCE_MISMATCH: (_NOT_AUTHORIZED, "The token is meant for somebody else."),
        DenyReason.TOKEN_EXPIRED: (_NOT_AUTHORIZED, "The token has expired."),
        DenyReason.TOKEN_NOT_YET_VALID: (_NOT_AUTHORIZED, "The token is not valid yet."),
        DenyReason.LIFETIME_TOO_LONG: (_NOT_AUTHORIZED, "The token lives longer than is accepted."),
        DenyReason.SCOPE_MISSING: (_NOT_AUTHORIZED, "The token lacks a scope that is required."),
        DenyReason.CONFIRMATION_UNPROVEN: (
            _NOT_AUTHORIZED,
            "The token is bound to a key that the client did not prove to hold.",
        ),
        DenyReason.PROOF_MALFORMED: (
            _BAD_CREDENTIALS,
            "What was sent is not a proof in the form of the client's authentication method.",
        ),
        DenyReason.EXPORTER_PROOF_UNSUPPORTED: (
            _NOT_AUTHORIZED,
            "The client's proof is over a TLS exporter (RFC 9431), which cannot be checked here.",
        ),
        DenyReason.CREDENTIALS_MISSING: (_BAD_CREDENTIALS, "The client sent no token."),
        DenyReason.CREDENTIALS_AMBIGUOUS: (
            _BAD_CREDENTIALS,
            "The client sent tokens in both username and password.",
        ),
        DenyReason.CLIENT_ID_MISMATCH: (
            _BAD_CLIENT_ID,
            "The token belongs to a device that may not use this client identifier.",
        ),
        DenyReason.CLIENT_ID_REFUSED: (
            _BAD_CLIENT_ID,
            "The client identifier is empty or not well-formed.",
        ),
        DenyReason.SESSION_OWNED_BY_ANOTHER: (
            _NOT_AUTHORIZED,
            "The client identifier has a session of somebody else.",
        ),
        DenyReason.TOKEN_INACTIVE: (
            _NOT_AUTHORIZED,
            "The issuer, asked about the token, says that it is not active.",
        ),
        DenyReason.TOKEN_REVOKED: (_NOT_AUTHORIZED, "The token was revoked."),
        DenyReason.KEYS_UNAVAILABLE: (
            _UNAVAILABLE,
            "The issuer's keys were never read, or it was not yet asked for the token's key.",
        ),
        DenyReason.INTROSPECTION_UNAVAILABLE: (
            _UNAVAILABLE,
            "The issuer could not be asked about the token.",
        ),
        DenyReason.GUARD_UNAVAILABLE: (_UNAVAILABLE, "The guard is not ready to decide."),
        DenyReason.PERMISSIONS_INVALID: (
            _NOT_AUTHORIZED,
            "The token's permissions cannot be read, or are more than the broker can hold.",
        ),
        DenyReason.ENHANCED_AUTHENTICATION_UNSUPPORTED: (
            _BAD_METHOD,
            "The client asked for an authentication method that is not configured.",
        ),
        DenyReason.EXCHANGE_UNKNOWN: (
            _UNAVAILABLE,
            "The client answered what it was not asked, or was asked too long ago.",
        ),
        DenyReason.IDENTITY_CHANGED: (
            _NOT_AUTHORIZED,
            "The client is connected with the token of another subject or OAuth client.",
        ),
        DenyReason.SESSION_ENDED: (
            _NOT_AUTHORIZED,
            "The connection that was to go on with another token was ended.",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was looked at on the way to a decision.

    Args:
        check: What was looked at, such as ``signature`` or ``permission``.
        ok: Whether it spoke for the client.
        detail: What was found, without any secret.
    """

    check: str
    ok: bool
    detail: str


def _no_steps() -> tuple[Step, ...]:
    return ()


_NO_PERMISSIONS: Final = Permissions.allow_only()


# Made for every CONNECT: a Struct costs a fifth of a frozen dataclass to make.
class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a CONNECT; made by ``allow`` or ``refuse``.

    Args:
        allowed: Whether the client may connect.
        reason: Why not, or None.
        detail: What exactly was wrong, for the operator.
        principal: Who the broker takes the client for.
        issuer: The issuer identifier, the token's ``iss``.
        subject: The token's ``sub``.
        token_id: The token's ``jti``.
        permissions: What the client may do; nothing where it is refused.
        expires_at: When the connection ends, in seconds since the epoch.
        explain: Makes the steps, when somebody asks for them.
    """

    aside: ClassVar[frozenset[str]] = frozenset({"explain"})
    """Fields that are no part of what was decided, and not compared."""

    allowed: bool
    reason: DenyReason | None = None
    detail: str = ""
    principal: str = ""
    issuer: str = ""
    subject: str = ""
    token_id: str = ""
    permissions: Permissions = _NO_PERMISSIONS
    expires_at: float = 0.0
    explain: Callable[[], tuple[Step, ...]] = _no_steps

    def __post_init__(self) -> None:
        if self.allowed != (self.reason is None):
            raise ValueError("a refusal has a reason, and only a refusal")

    def __eq__(self, other: object) -> bool:
        """Compare what was decided, not how it is explained."""
        return type(other) is type(self) and _decided(self) == _decided(other)

    def __hash__(self) -> int:
        return hash(_decided(self))

    def __repr__(self) -> str:
        told = self.principal if self.allowed else self.reason
        return f"{type(self).__name__}(allowed={self.allowed}, {told!r})"

    def __bool__(self) -> NoReturn:
        raise TypeError("a decision is always true as an object: use .allowed")

    @property
    def reason_code(self) -> ReasonCode:
        """What the client is told (MQTT 5.0 section 3.2.2.2)."""
        return ReasonCode.SUCCESS if self.reason is None else self.reason.reason_code

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was looked at, in order; built when asked for."""
        return self.explain()

    @classmethod
    def allow(
        cls,
        *,
        principal: str,
        issuer: str,
        subject: str,
        permissions: Permissions,
        expires_at: float,
        token_id: str = "",
        explain: Callable[[], tuple[Step, ...]] = _no_steps,
    ) -> Decision:
        """Return the decision to let the client in."""
        return cls(
            allowed=True,
            principal=principal,
            issuer=issuer,
            subject=subject,
            token_id=token_id,
            permissions=permissions,
            expires_at=expires_at,
            explain=explain,
        )

    @classmethod
    def refuse(
        cls,
        reason: DenyReason,
        *,
        detail: str = "",
        principal: str = "",
        issuer: str = "",
        subject: str = "",
        token_id: str = "",
        explain: Callable[[], tuple[Step, ...]] = _no_steps,
    ) -> Decision:
        """Return the decision to refuse the client; what is known of it serves the audit."""
        return cls(
            allowed=False,
            reason=reason,
            detail=detail or reason.explanation,
            principal=principal,
            issuer=issuer,
            subject=subject,
            token_id=token_id,
            explain=explain,
        )


def _decided(decision: Decision) -> tuple[object, ...]:
    names = decision.__struct_fields__
    return tuple(getattr(decision, name) for name in names if name not in decision.aside)
