# SPDX-License-Identifier: Apache-2.0
"""What the endpoints of one server have in common, made once and in this order.

Whatever cannot be used is an error before anything listens; the register is closed then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from keyfob.server.access_tokens import SignedAccessTokens
from keyfob.server.admission import Admission
from keyfob.server.audit import AuditSink
from keyfob.server.client_authentication import client_authenticator
from keyfob.server.client_authentication.grant_assertion import GrantAssertion
from keyfob.server.credentials import SecretVerifier
from keyfob.server.device_codes import DeviceCodes
from keyfob.server.device_limits import (
    PollTimes,
    PollTimesInMemory,
    WrongCodes,
    WrongCodesInMemory,
)
from keyfob.server.dpop.binding import DpopBinding
from keyfob.server.dpop.nonces import NONCE_KEY_BYTES, Nonces
from keyfob.server.endpoints.metadata import TOKEN_PATH, assertion_rules
from keyfob.server.events.credentials import seal_all
from keyfob.server.last_tokens import LastTokens
from keyfob.server.limits import Limits, LimitStore, NoLimits
from keyfob.server.limits_in_memory import InMemoryLimits
from keyfob.server.minting import AccessTokens
from keyfob.server.opaque_tokens import OpaqueTokens
from keyfob.server.refresh_tokens import RefreshTokens
from keyfob.server.register_thread import RegisterThread
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.events import KeyAudit
from keyfob.server.signing.keyring import Keyring
from keyfob.server.signing.keys import prepare
from keyfob.server.stores.device_codes import StoredDeviceCodes
from keyfob.server.stores.opaque_tokens import StoredOpaqueTokens
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.postgresql.device_limits import (
    PostgresqlPollTimes,
    PostgresqlWrongCodes,
)
from keyfob.server.stores.postgresql.limits import PostgresqlLimits
from keyfob.server.stores.reads import Reads, make_reads
from keyfob.server.stores.refresh_families import StoredRefreshFamilies
from keyfob.server.stores.serving import ServingStore
from keyfob.server.stores.serving_keys import ServingKeys
from keyfob.server.stores.shared_keys import shared_key
from keyfob.server.stores.store import Store, open_store
from keyfob.server.stores.token_revocations import StoredTokenRevocations
from keyfob.server.stores.used_assertions import StoredUsedAssertions
from keyfob.server.stores.used_proofs import StoredUsedProofs
from keyfob.server.stores.writer import Writer
from keyfob.server.trusted_issuers.assertions import TrustedAssertions, trusted_assertions

__all__ = ["Opened", "Parts", "make_parts", "open_register"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The register, opened: who reads it and who writes it while the server runs."""

    store: Store
    reading: Reads
    writer: Writer
    reads: ServingStore
    thread: RegisterThread
    last_tokens: LastTokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What endpoints have in common."""

    settings: ServerSettings
    opened: Opened
    keyring: Keyring
    revocations: StoredTokenRevocations
    device_requests: StoredDeviceCodes
    opaque: OpaqueTokens
    tokens: AccessTokens
    used: StoredUsedAssertions
    assertions: TrustedAssertions
    refresh_tokens: RefreshTokens
    device_codes: DeviceCodes
    wrong_codes: WrongCodes
    dpop: DpopBinding
    limits: LimitStore
    admission: Admission
    audit: AuditSink
    clock: Callable[[], float]
    stopping: asyncio.Event

    @property
    def reads(self) -> ServingStore:
        """What the endpoints may ask the register."""
        return self.opened.reads


def open_register(settings: ServerSettings, clock: Callable[[], float]) -> Opened:
    """Open the register.

    Raises:
        ConfigError: It cannot be used.
    """
    store = open_store(settings.database, migrate=settings.migrate)
    reading = make_reads(settings.database, store)
    writer = Writer(settings.database)
    return Opened(
        store=store,
        reading=reading,
        writer=writer,
        reads=ServingStore(reading, writer, clock=clock),
        thread=RegisterThread(Writer(settings.database, most=1), settings, clock),
        last_tokens=LastTokens(writer),  # which closes it
    )


def make_parts(
    settings: ServerSettings,
    opened: Opened,
    *,
    audit: AuditSink,
    key_audit: KeyAudit,
    clock: Callable[[], float],
    verify: SecretVerifier,
    limits: LimitStore | None,
) -> Parts:
    """Make the parts; see ``create_app`` for the arguments.

    Raises:
        ConfigError: A signing key or a trusted issuer cannot be used.
    """
    store, reading, writer = opened.store, opened.reading, opened.writer
    keyring = _keyring(settings, opened, clock, key_audit)
    used = StoredUsedAssertions(writer)
    assertions = _or_close(store, lambda: _assertions(settings, used))
    revocations = StoredTokenRevocations(reading, writer)
    opaque = OpaqueTokens(StoredOpaqueTokens(reading, writer), revocations)
    families = StoredRefreshFamilies(reading, writer, grace=settings.refresh_grace)
    device_requests = StoredDeviceCodes(reading, writer)
    limits = limits or _limits(settings, reading)
    authenticator = client_authenticator(
        opened.reads,
        verify,
        used,
        assertion_rules(settings),
        clock,
        alone=GrantAssertion(opened.reads, assertions, clock),
    )
    return Parts(
        settings=settings,
        opened=opened,
        keyring=keyring,
        revocations=revocations,
        device_requests=device_requests,
        opaque=opaque,
        tokens=AccessTokens(SignedAccessTokens(settings, keyring, revocations), opaque),
        used=used,
        assertions=assertions,
        refresh_tokens=RefreshTokens(families, settings.refresh, clock),
        device_codes=DeviceCodes(
            device_requests, _poll_times(settings, reading), settings.device_code_lifetime, clock
        ),
        wrong_codes=_wrong_codes(settings, reading),
        dpop=_dpop(settings, store, writer),
        limits=limits,
        admission=Admission(
            authenticator=authenticator, limits=Limits(limits), audit=audit, clock=clock
        ),
        audit=audit,
        clock=clock,
        stopping=asyncio.Event(),
    )


def _keyring(
    settings: ServerSettings, opened: Opened, clock: Callable[[], float], audit: KeyAudit
) -> Keyring:
    store = opened.store
    keys = _or_close(store, lambda: prepare(store, settings.signing, clock=clock, audit=audit))
    _or_close(store, lambda: seal_all(store, settings.signing.sealer))
    served = ServingKeys(opened.reading, opened.writer)
    return Keyring(served, settings.signing, store.keys.all(), keys, clock=clock, audit=audit)


def _assertions(settings: ServerSettings, used: StoredUsedAssertions) -> TrustedAssertions:
    return trusted_assertions(settings.trusted_issuers, assertion_rules(settings), used)


def _dpop(settings: ServerSettings, store: Store, writer: Writer) -> DpopBinding:
    at = frozenset({settings.base + TOKEN_PATH, settings.mutual_tls.under(TOKEN_PATH)})
    return DpopBinding(at, StoredUsedProofs(writer), _nonces(settings, store))


def _nonces(settings: ServerSettings, store: Store) -> Nonces | None:
    if settings.dpop_nonce == "off":
        return None
    key = _or_close(store, lambda: shared_key(store, "dpop nonces", length=NONCE_KEY_BYTES))
    return Nonces(key)


def _limits(settings: ServerSettings, reading: Reads) -> LimitStore:
    if settings.limits is None:
        return NoLimits()
    if isinstance(settings.database, PostgresqlUrl):  # which several processes share
        return PostgresqlLimits(settings.limits, reading)
    return InMemoryLimits(settings.limits, time.monotonic)


def _poll_times(settings: ServerSettings, reading: Reads) -> PollTimes:
    shared = isinstance(settings.database, PostgresqlUrl)
    return PostgresqlPollTimes(reading) if shared else PollTimesInMemory()


def _wrong_codes(settings: ServerSettings, reading: Reads) -> WrongCodes:
    shared = isinstance(settings.database, PostgresqlUrl)
    return PostgresqlWrongCodes(reading) if shared else WrongCodesInMemory(time.monotonic)


def _or_close(store: Store, make: Callable[[], _T]) -> _T:
    """Make something that the server cannot be without; if it fails, the register is closed."""
    try:
        return make()
    except BaseException:
        store.close()
        raise
