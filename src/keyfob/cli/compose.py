# SPDX-License-Identifier: Apache-2.0
"""From settings to running parts: issuers, key sources, policies, the guard."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.authorization.policy import Policy, PolicyRule
from keyfob.authorization.syntaxes.scopes import NativeScopes
from keyfob.config import IssuerSection, SecretReference, ServerSection, Settings
from keyfob.errors import ConfigError
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import FileKeySource, HttpKeySource, KeySource
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.sessions import SessionStore
from keyfob.server.settings import ServerSettings
from keyfob.tokens.verify import TrustedIssuer

__all__ = [
    "asked_issuers",
    "bindings",
    "check",
    "known_revocations",
    "onlooker",
    "server_settings",
    "trusted_issuer",
]


def trusted_issuer(issuer: IssuerSection) -> TrustedIssuer:
    """Make the rules by which an issuer's tokens are verified.

    Raises:
        ConfigError: A rule would trust nobody, everybody, or a shared secret.
    """
    ClientIdTemplate.parse(issuer.client_id_template)
    return TrustedIssuer(
        name=issuer.name,
        issuer=issuer.issuer,
        audiences=frozenset(issuer.audience),
        algorithms=frozenset(issuer.algorithms),
        required_scopes=frozenset(issuer.required_scopes),
        device_claim=issuer.device_claim,
        types=frozenset(issuer.types),
        leeway=issuer.leeway,
        expiry_leeway=issuer.expiry_leeway,
        max_lifetime=issuer.max_lifetime or None,
        client_id_template=issuer.client_id_template,
    )


def bindings(settings: Settings, *, follow: bool = True) -> dict[str, IssuerBinding]:
    """Make every issuer of the configuration, by its ``iss``.

    Args:
        settings: The configuration.
        follow: Whether to read the issuers' revocations from them.

    Raises:
        ConfigError: There is none, or one is wrong.
    """
    if not settings.issuers:
        raise ConfigError(f"{settings.path}: no [[issuer]] is trusted; write at least one")
    return {
        issuer.issuer: IssuerBinding(
            trusted=trusted_issuer(issuer),
            keys=_keys(issuer),
            policy=_policy(issuer),
            revocations=_feed(issuer, settings.directory) if follow else None,
        )
        for issuer in settings.issuers
    }


def server_settings(server: ServerSection) -> ServerSettings:
    """Make the authorization server's settings.

    Raises:
        ConfigError: One is not what it has to be.
    """
    return ServerSettings(
        issuer=server.issuer,
        audience=server.audience,
        database=server.database,
        default_lifetime=server.token_lifetime,
    )


def check(settings: Settings) -> None:
    """Refuse, before anything starts, what the server or the guard would refuse.

    Raises:
        ConfigError: The message names the file.
    """
    try:
        server_settings(settings.server)
        bindings(settings)
    except ConfigError as error:
        path = str(settings.path)
        message = error.message if path in error.message else f"{path}: {error.message}"
        raise ConfigError(message) from error


@asynccontextmanager
async def asked_issuers(settings: Settings) -> AsyncIterator[dict[str, IssuerBinding]]:
    """Make every issuer for one question; their keys are fetched when somebody needs them."""
    issuers = bindings(settings, follow=False)
    try:
        yield issuers
    finally:
        for binding in issuers.values():
            await binding.keys.aclose()


@contextmanager
def onlooker(settings: Settings, issuers: Mapping[str, IssuerBinding]) -> Iterator[Guard]:
    """Make a guard that answers what the running one would, and changes nothing.

    It reads the running guard's sessions and revocations from their file, where there is one.
    """
    database = settings.guard.database
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(Database.read(database)) if database.exists() else None
        yield Guard(
            issuers,
            sessions=SessionStore(opened),
            revocations=RevocationStore(opened),
            empty_client_id=settings.guard.empty_client_id,
            token_fields=settings.guard.token_fields,
        )


@contextmanager
def known_revocations(settings: Settings) -> Iterator[RevocationStore]:
    """Give the revocations that the running guard knows, to look at; none where it never ran."""
    database = settings.guard.database
    if not database.exists():
        yield RevocationStore()
        return
    with Database.read(database) as opened:
        yield RevocationStore(opened)


def _keys(issuer: IssuerSection) -> KeySource:
    if issuer.jwks_file is not None:
        return FileKeySource(issuer.jwks_file)
    return HttpKeySource(issuer.issuer, jwks_uri=issuer.jwks_uri, ca=issuer.ca)


def _policy(issuer: IssuerSection) -> Policy:
    rules = tuple(
        PolicyRule(
            kind="scope" if row.scope else "claim",
            claim=row.claim,
            value=row.scope or row.value,
            publish=row.publish,
            subscribe=row.subscribe,
        )
        for row in issuer.policy
    )
    rights = (NativeScopes(),) if issuer.native_scopes else ()
    return Policy(rights=rights, rules=rules)


def _feed(issuer: IssuerSection, directory: Path) -> RevocationFeed | None:
    if not issuer.revocation_client:
        return None
    return RevocationFeed(
        issuer.issuer,
        client_id=issuer.revocation_client,
        client_secret=SecretReference.parse(issuer.revocation_secret, directory).read(),
        ca=issuer.ca,
    )
