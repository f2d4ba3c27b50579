# SPDX-License-Identifier: Apache-2.0
"""What an approver is shown, and what his answer does.

An approval counts for exactly what was shown: where the device's rights change between the page and
the answer, the page is shown again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from keyfob.authorization.permissions import Operation
from keyfob.authorization.syntaxes.scopes import CONNECT, parse_scope
from keyfob.errors import TopicError, UpstreamError
from keyfob.server.approval.sessions import SignedIn
from keyfob.server.clients import Client, ClientKind
from keyfob.server.device_flow import DeviceRequest, State
from keyfob.server.device_limits import WrongCodes
from keyfob.server.names import is_name, shown_name
from keyfob.server.oauth_errors import OAuthError, unavailable
from keyfob.server.scopes import narrowed
from keyfob.server.stores.admin_actions import DONE, AdminAction
from keyfob.server.user_codes import read_user_code, user_code_hash

__all__ = ["ApprovalStore", "Desk", "Offer", "Unfit"]


class ApprovalStore(Protocol):
    """What the desk needs of a store; each change is one transaction, durable on return."""

    async def find_by_user_code(self, user_hash: bytes) -> DeviceRequest | None:
        """Return the request of a user code."""

    async def decide(self, request: DeviceRequest, action: AdminAction, *, session: bytes) -> bool:
        """Approve or deny a pending request; False where it is not pending, or the session over."""


class DeviceLookup(Protocol):
    """What the desk needs of the register."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be approved.

    Args:
        device: Which device.
        scopes: What it would get.
        rights: The same for a person.
        fingerprint: Of all that is shown.
    """

    device: str
    scopes: tuple[str, ...]
    rights: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a device cannot be approved, for a person."""

    why: str


class Desk:
    """Looks requests up and decides them.

    Args:
        store: The requests.
        devices: The register.
        clock: Unix seconds.
        wrong: What is left of the wrong codes.
    """

    def __init__(
        self,
        store: ApprovalStore,
        devices: DeviceLookup,
        clock: Callable[[], float],
        wrong: WrongCodes,
    ) -> None:
        self._store = store
        self._devices = devices
        self._clock = clock
        self._wrong = wrong

    async def find(self, typed: str) -> tuple[str, DeviceRequest]:
        """Return the code that somebody typed, and the request that waits for it.

        Raises:
            OAuthError: ``invalid_grant``: there is no such request, or none any more;
                ``temporarily_unavailable`` with status 429: too many wrong codes, or without it:
                the database does not answer.
        """
        try:
            return await self._found(typed)
        except UpstreamError as error:
            raise unavailable() from error

    async def _found(self, typed: str) -> tuple[str, DeviceRequest]:
        wait = await self._wrong.wait()
        if wait:
            raise OAuthError(
                "temporarily_unavailable",
                "too many wrong codes; try again later",
                reason="limit_user_codes",
                status=429,
                retry_after=int(wait) + 1,
            )
        code = read_user_code(typed)
        request = None
        if code is not None:
            request = await self._store.find_by_user_code(user_code_hash(code))
        if code is None or request is None or not request.is_open(self._clock()):
            await self._wrong.take()
            raise OAuthError(
                "invalid_grant",
                "no request waits for this code",
                reason="user_code_unknown" if request is None else "user_code_over",
            )
        return code, request

    async def offer(self, request: DeviceRequest, device_id: str) -> Offer | Unfit:
        """Return what may be approved for a device, or why nothing may."""
        known = is_name(device_id)
        device = await self._devices.find_client(device_id) if known else None
        if device is None or device.kind is not ClientKind.DEVICE:
            return Unfit(f"There is no device {shown_name(device_id)} in the register.")
        if device.pending:
            return Unfit(f"The device {device_id} is not activated yet.")
        if not device.enabled:
            return Unfit(f"The device {device_id} is disabled.")
        try:
            scopes = narrowed(device.scopes, request.scope)
        except OAuthError:
            return Unfit(f"It asks for more than {device_id} is registered for.")
        told = "\0".join((request.code_hash.hex(), device_id, " ".join(scopes)))
        return Offer(
            device=device_id,
            scopes=scopes,
            rights=tuple(map(_right, scopes)),
            fingerprint=hashlib.sha256(told.encode()).hexdigest(),
        )

    async def approve(
        self, request: DeviceRequest, offer: Offer, *, signed_in: SignedIn, peer: str
    ) -> None:
        """Approve what was offered.

        Args:
            request: The request.
            offer: What the operator was shown.
            signed_in: Who he is, and by which session.
            peer: The address that he is at.

        Raises:
            OAuthError: ``invalid_grant``: somebody was faster, or the device or the operator is
                gone, or signed out; ``temporarily_unavailable``: the database could not be written.
        """
        decided = replace(request, state=State.APPROVED, subject=offer.device, scopes=offer.scopes)
        await self._decide(decided, signed_in=signed_in, peer=peer, subject=offer.device)

    async def deny(self, request: DeviceRequest, *, signed_in: SignedIn, peer: str) -> None:
        """Deny it; the same as ``approve``."""
        decided = replace(request, state=State.DENIED)
        # Where no device was named there is the application to look for in the trail.
        subject = request.hint or request.client_id
        await self._decide(decided, signed_in=signed_in, peer=peer, subject=subject)

    async def _decide(
        self, request: DeviceRequest, *, signed_in: SignedIn, peer: str, subject: str
    ) -> None:
        now = self._clock()
        decided = replace(request, decided_by=signed_in.operator, decided_at=now)
        approved = request.state is State.APPROVED
        action = AdminAction(
            at=now,
            actor=f"{signed_in.operator} at {peer}",
            action="device-code.approve" if approved else "device-code.deny",
            subject=subject,
            result=DONE,
            detail=f"for {request.client_id} at {request.peer}",
        )
        try:
            done = await self._store.decide(decided, action, session=signed_in.token_hash)
        except UpstreamError as error:
            raise unavailable() from error
        if not done:
            raise OAuthError(
                "invalid_grant",
                "no request waits for this code",
                reason="user_code_over",
                subject=subject,
            )


def _right(scope: str) -> str:
    """Say what a scope allows, for a person."""
    if scope == CONNECT:
        return "connect to the broker"
    try:
        rule = parse_scope(scope)
    except TopicError:
        rule = None
    # What turns the line around or cannot be seen is shown as it was written, percent-encoded.
    if rule is None or not str(rule.filter).isprintable():
        return f"what the scope {scope} allows"
    verb = "publish to" if rule.operations is Operation.PUBLISH else "subscribe to"
    return f"{verb} {rule.filter}"
