# SPDX-License-Identifier: Apache-2.0
"""Token exchange: a gateway gets tokens for its sub-devices (RFC 8693; docs/adr has the why).

The gateway is the device whose own access token is shown. It names the sub-device in one of three
ways:

    subject_token                     actor_token        the sub-device is
    the gateway's token               -                  requested_subject
    a JWT signed by the gateway       its own token      the JWT's sub
    the sub-device's own token        its own token      that token's sub

The new token is for the sub-device (``sub``), was issued to the client that asked (``client_id``),
and says through whom (``act``). It holds what the sub-device is registered for *and* the gateway's
token holds *and* the gateway is registered for; with the sub-device's token, what that one holds,
too. It ends with the first of the tokens that were shown, also where they are revoked.

Whatever is wrong with what was shown, the answer is one and the same (section 2.2.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from keyfob.errors import KeyfobError, UpstreamError
from keyfob.server.asked_rights import TOKEN_EXCHANGE
from keyfob.server.clients import Client, ClientKind
from keyfob.server.exchanged_rights import Rights, common_rights, rights_of
from keyfob.server.exchanged_token import ExchangedToken, ExchangeStore, Kept, Parent
from keyfob.server.gateway_statement import GatewayStatements
from keyfob.server.issue import Access, IssuedToken
from keyfob.server.lifetimes import token_revocation_until
from keyfob.server.name_patterns import is_meant
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.token_lookup import FoundToken, OtherTokenTypeError, TokenLookup

__all__ = ["ACCESS_TOKEN_TYPE", "JWT_TYPE", "MAX_ACTORS", "DeviceStore", "TokenExchange"]

ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a name
JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"
# A gateway behind a gateway behind a gateway; whoever builds more builds a loop.
MAX_ACTORS: Final = 3


class DeviceStore(Protocol):
    """What the grant needs of the register."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """The sub-device that a request names, and the tokens that it shows.

    Args:
        device: Whom the new token shall be for.
        gateway: The gateway's own token.
        own: The sub-device's token; None where it was not shown.
        use: Uses up what is good once only.
    """

    device: str
    gateway: FoundToken
    own: FoundToken | None = None
    use: Callable[[], Any] | None = None

    @property
    def tokens(self) -> tuple[FoundToken, ...]:
        return (self.gateway,) if self.own is None else (self.gateway, self.own)


class TokenExchange:
    """The grant.

    Args:
        devices: The register.
        tokens: The access tokens of this server.
        statements: What gateways sign about their sub-devices.
        exchanges: Where it is remembered what came out of what.
        clock: Unix seconds.
    """

    grant_type: Final = TOKEN_EXCHANGE

    def __init__(
        self,
        devices: DeviceStore,
        tokens: TokenLookup,
        statements: GatewayStatements,
        exchanges: ExchangeStore,
        clock: Callable[[], float],
    ) -> None:
        self._devices = devices
        self._tokens = tokens
        self._statements = statements
        self._exchanges = exchanges
        self._clock = clock

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Allow what sub-device and gateway have in common.

        Raises:
            OAuthError: ``invalid_request``: whatever is wrong (RFC 8693 section 2.2.2).
        """
        if client.public:  # its name would be all that protects a stolen token
            raise _unacceptable("client_public")
        if parameters.get("requested_token_type", ACCESS_TOKEN_TYPE) != ACCESS_TOKEN_TYPE:
            raise invalid_request(
                "only access tokens are issued here", reason="requested_token_type_unknown"
            )
        shown = await self._shown(parameters)
        if shown.gateway.client_id != client.client_id:
            raise _unacceptable("token_of_other_client", shown.device)
        gateway, device = await self._parties(shown)
        held = _common(gateway, device, shown)
        return Access(
            subject=device.client_id,
            client_id=client.client_id,
            scopes=held.scopes,
            details=held.details,
            lifetime=device.lifetime,
            revoked_through=device.revoked_through,
            audience=_audience(shown.tokens),
            ends_by=min(token.expires_at for token in shown.tokens),
            claims={"act": _actors(shown.gateway)},
            answer={"issued_token_type": ACCESS_TOKEN_TYPE},
            shown_confirmations=tuple(map(_confirmation, shown.tokens)),
            keep=lambda token: self._keep(shown, token),
        )

    async def _shown(self, parameters: Mapping[str, str]) -> _Shown:
        subject, kind = parameters.get("subject_token"), parameters.get("subject_token_type")
        if subject is None or kind is None:
            raise invalid_request(
                "subject_token and subject_token_type are required", reason="parameter_missing"
            )
        actor, actor_kind = parameters.get("actor_token"), parameters.get("actor_token_type")
        if (actor is None) != (actor_kind is None):
            raise invalid_request(
                "actor_token and actor_token_type go together", reason="parameter_missing"
            )
        named = parameters.get("requested_subject")
        if (actor is None) != (named is not None):
            raise invalid_request(
                "the sub-device is named by requested_subject, or by a subject_token of its own"
                " beside an actor_token",
                reason="sub_device_not_named",
            )
        if actor is None:
            self._check_kind(kind, ACCESS_TOKEN_TYPE)
            return _Shown(named or "", await self._find(subject))
        self._check_kind(actor_kind, ACCESS_TOKEN_TYPE)
        gateway = await self._find(actor)
        if kind != JWT_TYPE:
            self._check_kind(kind, ACCESS_TOKEN_TYPE)
            own = await self._find(subject)
            return _Shown(own.subject, gateway, own)
        statement = await self._statements.read(subject, gateway.subject, self._clock())
        return _Shown(statement.device, gateway, use=lambda: self._statements.use(statement))

    def _check_kind(self, kind: str | None, wanted: str) -> None:
        if kind != wanted:
            raise invalid_request("tokens of this type are not accepted", reason="token_type_other")

    async def _find(self, token: str) -> FoundToken:
        try:
            found = await self._tokens.find(token, self._clock())
        except OtherTokenTypeError:
            found = None
        if found is None:
            raise _unacceptable("shown_token_not_good")
        return found

    async def _parties(self, shown: _Shown) -> tuple[Client, Client]:
        """Return gateway and sub-device; unknown, disabled and not allowed are one answer."""
        gateway = await self._devices.find_client(shown.gateway.subject)
        device = await self._devices.find_client(shown.device) if is_name(shown.device) else None
        name = "" if device is None else device.client_id
        if gateway is None or gateway.kind is not ClientKind.DEVICE or not gateway.enabled:
            raise _unacceptable("gateway_disabled", name)
        # First, so that a gateway learns nothing of devices that are not its own.
        if not is_meant(shown.device, gateway.metadata.may_act_for):
            raise _unacceptable("not_its_sub_device", name)
        if shown.device == gateway.client_id:
            raise _unacceptable("self_exchange", name)
        if device is None or device.kind is not ClientKind.DEVICE:
            raise _unacceptable("sub_device_unknown")
        if not device.enabled:
            raise _unacceptable("sub_device_disabled", name)
        if shown.own is not None and "act" in shown.own.members:
            raise _unacceptable("subject_token_exchanged", name)
        return gateway, device

    async def _keep(self, shown: _Shown, token: IssuedToken) -> None:
        try:
            if shown.use is not None:
                await shown.use()
            kept = await self._exchanges.keep(
                ExchangedToken(
                    parents=tuple(map(_parent, shown.tokens)),
                    subject=shown.device,
                    token_id=token.token_id,
                    issued_at=token.issued_at,
                    until=token_revocation_until(token.expires_at),
                ),
                now=self._clock(),
            )
        except UpstreamError:
            raise _not_now("store_unavailable") from None
        if kept is Kept.TOO_MANY:
            raise _not_now(kept)
        if kept is not Kept.DONE:
            raise _unacceptable(kept, shown.device)


def _common(gateway: Client, device: Client, shown: _Shown) -> Rights:
    try:
        own = None if shown.own is None else rights_of(shown.own)
        of_gateway = rights_of(shown.gateway)
    except KeyfobError:
        raise _unacceptable("shown_token_not_good", shown.device) from None
    held = common_rights(gateway.scopes, of_gateway, device.scopes, own)
    if not held.scopes and not held.details:
        raise _unacceptable("rights_disjoint", shown.device)
    return held


def _actors(gateway: FoundToken) -> Mapping[str, object]:
    """Return ``act``: the gateway, and through whom it got its own token (section 4.1)."""
    actors: dict[str, object] = {"sub": gateway.subject}
    before = gateway.members.get("act")
    if before is not None:
        actors["act"] = before
    depth, inner = 0, actors.get("act")
    while isinstance(inner, Mapping):
        depth, inner = depth + 1, inner.get("act")
    if depth + 1 > MAX_ACTORS:
        raise _unacceptable("too_many_actors", gateway.subject)
    return actors


def _audience(tokens: tuple[FoundToken, ...]) -> tuple[str, ...]:
    """Return what every token is for, in the order of the first."""
    named = [_audience_of(token) for token in tokens]
    common = tuple(one for one in named[0] if all(one in others for others in named))
    if not common:
        raise _unacceptable("audiences_disjoint", tokens[-1].subject)
    return common


def _audience_of(token: FoundToken) -> tuple[str, ...]:
    value = token.members.get("aud")
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else ()


def _confirmation(token: FoundToken) -> Mapping[str, object]:
    value = token.members.get("cnf", {})
    return value if isinstance(value, Mapping) else {"": value}  # which nobody proves


def _parent(token: FoundToken) -> Parent:
    return Parent(subject=token.subject, token_id=token.token_id, issued_at=token.issued_at)


def _unacceptable(reason: str, subject: str = "") -> OAuthError:
    return OAuthError(
        "invalid_request", "what was shown is not acceptable", reason=reason, subject=subject
    )


def _not_now(reason: str) -> OAuthError:
    return OAuthError("temporarily_unavailable", "try again later", reason=reason)
