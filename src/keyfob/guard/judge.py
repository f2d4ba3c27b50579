# SPDX-License-Identifier: Apache-2.0
"""One CONNECT, judged: the checks in their order, without waiting and without leaving a trace.

The order is that of what a check costs and of what its refusal gives away:

1. ``credentials``   which field carries the token
2. ``token``         signature, issuer, audience, times, required scopes: ``tokens.verify``
3. ``confirmation``  a bound token comes with its proof (RFC 7800)
4. ``revocation``    neither it nor its device was revoked
5. ``device``        the client identifier is this device's
6. ``session``       nobody else has a live or stored session under that identifier
7. ``permissions``   what it may do

Every refusal has its ``DenyReason``; the checks before it are told when somebody asks for steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.authorization.policy import Granted
from keyfob.errors import KeyfobError, TokenError
from keyfob.guard.admission import Admission, Asked
from keyfob.guard.credentials import TokenField, choose_token
from keyfob.guard.given_up import is_given_up
from keyfob.guard.grants import Grants
from keyfob.guard.introspection import Introspector
from keyfob.guard.introspection_answers import Active, Introspection, Refused, Unavailable
from keyfob.guard.issuer_bindings import CurrentKeys, IssuerBinding
from keyfob.guard.key_sources import KeySource
from keyfob.guard.refusals import because, binding_detail, refuse
from keyfob.guard.reservations import Reservations
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.session import Session
from keyfob.guard.sessions import SessionStore
from keyfob.guard.steps import steps
from keyfob.guard.verified_tokens import CachedToken, VerifiedTokens
from keyfob.tokens import confirmation
from keyfob.tokens.keys import KeySet
from keyfob.tokens.opaque import opaque_issuer
from keyfob.tokens.verify import (
    NeedIntrospection,
    NeedKeys,
    VerifiedToken,
    reverify,
    verify,
)

__all__ = ["Answered", "EmptyClientId", "Judge", "Question"]

EmptyClientId = Literal["accept", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A CONNECT that can be judged only once its issuer has been asked (RFC 7662)."""

    introspector: Introspector
    token: bytes = field(repr=False)
    presented: VerifiedToken | None = field(repr=False)

    def ask(self) -> asyncio.Future[Introspection]:
        """Ask, or join whoever asks already."""
        return self.introspector.ask(self.token, presented=self.presented)


@dataclass(frozen=True, slots=True)
class Answered:
    """What an issuer said just now; it counts by the rules that it was asked under."""

    by: Introspector
    answer: Introspection


class Judge:
    """Judges CONNECTs; reads what the guard knows and changes nothing of it.

    Args:
        issuers: The trusted issuers by their ``iss``.
        sessions: Who is connected or stored.
        revocations: What was revoked.
        reservations: Who was just let in.
        token_fields: The fields that may carry a token.
        authentication_methods: The methods of enhanced authentication that are known.
        empty_client_id: What to do with clients that leave their identifier to the broker.

    Raises:
        ConfigError: A client identifier template is none.
    """

    def __init__(
        self,
        issuers: Mapping[str, IssuerBinding],
        *,
        sessions: SessionStore,
        revocations: RevocationStore,
        reservations: Reservations,
        token_fields: Sequence[TokenField],
        authentication_methods: Container[str],
        empty_client_id: EmptyClientId,
    ) -> None:
        self._issuers = issuers
        self._trusted = {iss: binding.trusted for iss, binding in issuers.items()}
        self._templates = {
            iss: ClientIdTemplate.parse(trusted.client_id_template)
            for iss, trusted in self._trusted.items()
        }
        self._prefixes = {
            binding.opaque_prefix.encode(): binding.trusted
            for binding in issuers.values()
            if binding.introspector is not None and binding.opaque_prefix is not None
        }
        self._keys = CurrentKeys(issuers)
        self._grants = Grants({iss: binding.policy for iss, binding in issuers.items()})
        self._sessions = sessions
        self._revocations = revocations
        self._reservations = reservations
        self._token_fields = tuple(token_fields)
        self._methods = authentication_methods
        self._empty_client_id = empty_client_id
        self._verified = VerifiedTokens(self._keys.now)
        self._introspected = VerifiedTokens(self._keys.now)

    @property
    def verified(self) -> VerifiedTokens:
        """The tokens verified last."""
        return self._verified

    def judge(
        self,
        request: ConnectRequest,
        broker: str,
        now: float,
        answered: Answered | None = None,
    ) -> Decision | NeedKeys | Question:
        """Judge a CONNECT.

        Args:
            request: The CONNECT.
            broker: The broker's name.
            now: Unix seconds.
            answered: What the issuer said about its token, if it was asked.

        Returns:
            The decision, an ``Admission`` where the client may come in; NeedKeys or a Question
            where it takes keys or an answer of the issuer.
        """
        method = request.authentication_method
        if method is not None and method not in self._methods:
            return refuse(DenyReason.ENHANCED_AUTHENTICATION_UNSUPPORTED, "credentials")
        presented = choose_token(request, self._token_fields)
        if isinstance(presented, DenyReason):
            return refuse(presented, "credentials")
        try:
            entry = self._verify(presented, now)
        except TokenError as error:
            return refuse(DenyReason(error.code), "token", error.message)
        if isinstance(entry, NeedKeys):
            return entry
        if not isinstance(entry, NeedIntrospection):
            return self._judge_verified(request, broker, entry, now)
        introspector = self._issuers[entry.issuer.issuer].introspector
        if introspector is None:
            return refuse(DenyReason.GUARD_UNAVAILABLE, "token", "nobody to ask about the token")
        answer: Introspection | None
        if answered is not None and answered.by is introspector:
            answer = answered.answer
        else:  # nobody asked, or by other rules: the configuration was read again since
            answer = introspector.find(introspector.digest(presented), now)
        match answer:
            case None:
                return Question(
                    introspector=introspector, token=presented, presented=entry.presented
                )
            case Unavailable(reason=reason):
                return self.without_answer(reason)
            case Refused(code=code, message=message):
                return refuse(DenyReason(code), "token", message)
            case Active() as active:
                found = self._worked_out(presented, active.token, now)
                asked = Asked(token=presented, answer=active)
                return self._judge_verified(request, broker, found, now, asked)

    def _worked_out(self, presented: bytes, token: VerifiedToken, now: float) -> CachedToken:
        """Return what was worked out from what the issuer said, for as long as it says so."""
        entry = self._introspected.find(digest := VerifiedTokens.digest(presented), now)
        if entry is None or entry.token is not token:
            entry = CachedToken(
                token=token,
                keys=self._keys.now(token.issuer.issuer),
                verified_at=now,
                principal=self._principal(token),
            )
            self._introspected.add(digest, entry)
        return entry

    def without_answer(self, reason: str) -> Decision:
        """Refuse a token that its issuer was not asked about in time."""
        return refuse(DenyReason.INTROSPECTION_UNAVAILABLE, "token", reason)

    def suppose(self, payload: bytes, request: ConnectRequest, broker: str, now: float) -> Decision:
        """Judge a CONNECT as if a trusted key had signed these claims.

        Args:
            payload: A claims set, as JSON.
            request: The CONNECT; what its fields hold does not matter.
            broker: The broker's name.
            now: Unix seconds.
        """
        try:
            token = reverify(payload, self._trusted, now, key_id="")
        except TokenError as error:
            return refuse(DenyReason(error.code), "token", error.message)
        entry = CachedToken(
            token=token, keys=KeySet(), verified_at=now, principal=self._principal(token)
        )
        return self._judge_verified(request, broker, entry, now)

    def reconsider(self, session: Session, now: float) -> Decision | None:
        """Judge a session again by its token's claims: may it stay, and what may it do?

        Whether its token has run out, or was revoked, is not asked: its end is set, and revocations
        end sessions as they come.

        Returns:
            The decision; None where the claims are not known.
        """
        if session.issuer not in self._trusted:
            return refuse(DenyReason.ISSUER_UNKNOWN, "token", "Its issuer is not trusted any more.")
        if not session.payload:
            return None
        try:
            token = reverify(
                session.payload,
                self._trusted,
                now,
                key_id=session.key_id,
                past_end=True,
                introspected=session.ask_by is not None,
            )
            granted = self._grants.of(token)
        except TokenError as error:
            return refuse(DenyReason(error.code), "token", error.message)
        except KeyfobError as error:
            return refuse(DenyReason.PERMISSIONS_INVALID, "permissions", error.message)
        if not confirmation.still_bound(session.proven, token.claims.confirmation):
            return refuse(DenyReason.CONFIRMATION_UNPROVEN, "confirmation")
        if (token.issuer.issuer, token.subject) != session.owner:
            return refuse(DenyReason.SESSION_OWNED_BY_ANOTHER, "session")
        request = ConnectRequest(client_id=session.client_id, assigned=session.assigned)
        if reason := self._device_fault(request, token):
            return refuse(reason, "device", binding_detail(reason, token, request))
        entry = CachedToken(
            token=token,
            keys=KeySet(),
            verified_at=now,
            principal=session.principal,
            granted=granted,
        )
        return self._admit(request, entry, granted)

    def keys_of(self, need: NeedKeys) -> KeySource:
        """Return where the keys come from that a token needs."""
        return self._issuers[need.issuer.issuer].keys

    def without_keys(self, need: NeedKeys) -> Decision:
        """Refuse a token for which there is no key, and no more time to wait for one."""
        source = self.keys_of(need)
        if need.loaded and source.lacks(need.kid):
            return refuse(DenyReason.KEY_UNKNOWN, "token", need.refusal().message)
        return refuse(
            DenyReason.KEYS_UNAVAILABLE, "token", f"no keys of {need.issuer.name} at hand"
        )

    def _verify(self, token: bytes, now: float) -> CachedToken | NeedKeys | NeedIntrospection:
        if self._prefixes and (issuer := opaque_issuer(token, self._prefixes)):
            return NeedIntrospection(issuer)
        digest = VerifiedTokens.digest(token)
        entry = self._verified.find(digest, now)
        if entry is not None:
            return self._good(entry)
        verified = verify(token, self._trusted, self._keys, now)
        if isinstance(verified, NeedIntrospection) and verified.presented is not None:
            verified = verified.presented
        if not isinstance(verified, VerifiedToken):
            return verified
        entry = CachedToken(
            token=verified,
            keys=self._keys[verified.issuer.issuer],
            verified_at=now,
            principal=self._principal(verified),
        )
        self._verified.add(digest, entry)
        return self._good(entry)

    def _good(self, entry: CachedToken) -> CachedToken | NeedIntrospection:
        """Ask for more than a good signature where the issuer wants to be asked."""
        issuer = entry.token.issuer
        return NeedIntrospection(issuer, entry.token) if issuer.introspect == "always" else entry

    def _principal(self, token: VerifiedToken) -> str:
        if len(self._issuers) == 1:
            return token.device
        return f"{token.issuer.name}:{token.subject}"

    def _judge_verified(
        self,
        request: ConnectRequest,
        broker: str,
        entry: CachedToken,
        now: float,
        asked: Asked | None = None,
    ) -> Decision:
        if fault := self._fault(request, broker, entry, now):
            return refuse(*fault, entry=entry, client_id=request.client_id)
        try:
            if entry.granted is None:
                entry.granted = self._grants.of(entry.token)
        except KeyfobError as error:
            reason, who = DenyReason.PERMISSIONS_INVALID, request.client_id
            return refuse(reason, "permissions", error.message, entry=entry, client_id=who)
        return self._admit(request, entry, entry.granted, asked)

    def _fault(
        self, request: ConnectRequest, broker: str, entry: CachedToken, now: float
    ) -> tuple[DenyReason, str, str] | None:
        """Return why a verified token does not let this client in, which check says so, and how."""
        token, claims = entry.token, entry.token.claims
        try:
            confirmation.check(token, request.certificate_thumbprint, request.proof, now)
        except TokenError as error:
            return DenyReason(error.code), "confirmation", error.message
        revoked = self._revocations.find(
            issuer=claims.issuer,
            subject=token.subject,
            client=token.client,
            token_id=claims.token_id,
            issued_at=claims.issued_at,
        )
        if revoked is not None:
            return DenyReason.TOKEN_REVOKED, "revocation", because(revoked.reason)
        if reason := self._device_fault(request, token):
            return reason, "device", binding_detail(reason, token, request)
        owner = self._owner(broker, request, now)
        if owner is not None and owner != (claims.issuer, token.subject):
            return DenyReason.SESSION_OWNED_BY_ANOTHER, "session", ""
        return None

    def _admit(
        self,
        request: ConnectRequest,
        entry: CachedToken,
        granted: Granted,
        asked: Asked | None = None,
    ) -> Admission:
        token, claims = entry.token, entry.token.claims
        return Admission(
            allowed=True,
            principal=entry.principal,
            issuer=claims.issuer,
            subject=token.subject,
            token_id=claims.token_id,
            permissions=granted.permissions,
            expires_at=token.expires_at,
            explain=partial(steps, entry=entry, client_id=request.client_id),
            client_id=request.client_id,
            client=token.client,
            issued_at=claims.issued_at,
            # MQTT 5's Clean Start says nothing of the end: a Session Expiry Interval may follow.
            clean=request.clean and (request.protocol_version < 5 or request.assigned),
            assigned=request.assigned or not request.client_id,
            payload=token.payload,
            key_id=token.key_id,
            proven=confirmation.bound_to(claims.confirmation),
            asked=asked,
            judge=self,
        )

    def _device_fault(self, request: ConnectRequest, token: VerifiedToken) -> DenyReason | None:
        """Check that the client identifier is the device's, or rightly left to the broker."""
        if request.assigned or not request.client_id:
            # MQTT 5.0 section 3.1.3.1. A stored session under a name nobody chose has no owner.
            fine = self._empty_client_id == "accept" and request.clean
            return None if fine else DenyReason.CLIENT_ID_REFUSED
        template = self._templates[token.issuer.issuer]
        if template.matches(token.device, request.client_id):
            return None
        return DenyReason.CLIENT_ID_MISMATCH

    def _owner(self, broker: str, request: ConnectRequest, now: float) -> tuple[str, str] | None:
        session = self._sessions.get(broker, request.client_id)
        if session is None or (request.clean and is_given_up(session, self, now)):
            return self._reservations.holder(broker, request.client_id, now)
        return session.owner
