# SPDX-License-Identifier: Apache-2.0
"""From settings to running parts: issuers, key sources, policies, the guard."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.authorization.policy import SYNTAXES, Policy, PolicyRule
from keyfob.cli.introspecting import Asking, asking, secret_of
from keyfob.cli.parts import Parts
from keyfob.cli.placing import placed, secret_at
from keyfob.config import (
    IssuerSection,
    PolicySection,
    Settings,
)
from keyfob.errors import ConfigError, UpstreamError
from keyfob.guard.database import Database
from keyfob.guard.events import EventSource
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import FileKeySource, HttpKeySource, KeySource, StaticKeySource
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.sessions import SessionStore
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import TrustedIssuer

__all__ = [
    "asked_issuers",
    "bindings",
    "event_sources",
    "key_source",
    "known_revocations",
    "onlooker",
    "policy",
    "trusted_issuer",
]

# What the key source of an issuer is made of.
_OF_KEYS: Final = (
    *("issuer", "algorithms", "jwks", "jwks_file", "jwks_uri", "jwks_refresh", "jwks_cooldown"),
)


def trusted_issuer(issuer: IssuerSection) -> TrustedIssuer:
    """Make the rules by which an issuer's tokens are verified.

    Raises:
        ConfigError: A rule would trust nobody, everybody, or a shared secret; it names the key.
    """
    try:
        ClientIdTemplate.parse(issuer.client_id_template)
    except ConfigError as error:
        raise ConfigError(error.message, key="client_id_template") from error
    return TrustedIssuer(
        name=issuer.name,
        issuer=issuer.issuer,
        audiences=frozenset(issuer.audience),
        audience_claim=issuer.audience_claim,
        algorithms=frozenset(issuer.algorithms),
        required_scopes=frozenset(issuer.required_scopes),
        scope_claim=issuer.scope_claim,
        # An empty text takes back what the preset requires.
        required_values=tuple((claim, text) for claim, text in issuer.require.items() if text),
        device_claim=issuer.device_claim,
        types=frozenset(issuer.types),
        leeway=issuer.leeway,
        expiry_leeway=issuer.expiry_leeway,
        max_lifetime=issuer.max_lifetime or None,
        client_id_template=issuer.client_id_template,
        introspect="never" if issuer.introspection is None else issuer.introspection.use,
        missing_audience=(
            "refuse" if issuer.introspection is None else issuer.introspection.missing_audience
        ),
    )


def key_source(issuer: IssuerSection) -> KeySource:
    """Make what an issuer's keys come from.

    Raises:
        ConfigError: The keys in the section or its file are unusable; it names the key.
    """
    if not issuer.algorithms:
        return StaticKeySource(KeySet())  # its tokens are opaque: no key verifies them
    if issuer.jwks:
        return StaticKeySource(_inline_keys(issuer.jwks))
    if issuer.jwks_file is not None:
        try:
            return FileKeySource(issuer.jwks_file)
        except ConfigError as error:
            raise ConfigError(error.message, key="jwks_file") from error
    return HttpKeySource(
        issuer.issuer,
        jwks_uri=issuer.jwks_uri,
        ca=issuer.ca,
        refresh=issuer.jwks_refresh,
        cooldown=issuer.jwks_cooldown,
    )


def policy(issuer: IssuerSection) -> Policy:
    """Make how the rights in an issuer's tokens are read.

    Raises:
        ConfigError: A row can never give a topic filter; it names the row.
    """
    rules = []
    for place, row in enumerate(issuer.policy):
        try:
            rules.append(_policy_rule(row))
        except ConfigError as error:
            raise ConfigError(error.message, key=f"policy.{place}") from error
    options: dict[str, dict[str, Any]] = {
        "authorization_details": {"locations": issuer.authorization_details.locations},
        "emqx_acl": {"claim": issuer.emqx_acl.claim},
        "rabbitmq": msgspec.structs.asdict(issuer.rabbitmq),
    }
    try:
        rights = tuple(SYNTAXES[name](**options.get(name, {})) for name in issuer.rights)
        return Policy(rights=rights, rules=tuple(rules))
    except ConfigError as error:
        raise ConfigError(error.message, key="rights") from error


def bindings(
    settings: Settings, *, follow: bool = True, parts: Parts | None = None
) -> dict[str, IssuerBinding]:
    """Make every issuer of the configuration, by its ``iss``.

    Args:
        settings: The configuration.
        follow: Whether to read the issuers' revocations from them.
        parts: Takes what is made, and gives what was made before in the same way.

    Raises:
        ConfigError: There is none, or one is wrong; the message says file and line.
    """
    if not settings.issuers:
        raise ConfigError(f"{settings.path}: no issuer is trusted; write at least one [[issuer]]")
    parts = Parts() if parts is None else parts
    return {
        issuer.issuer: _binding(settings, place, issuer, parts, follow=follow)
        for place, issuer in enumerate(settings.issuers)
    }


def event_sources(
    settings: Settings, issuers: Mapping[str, IssuerBinding]
) -> dict[str, EventSource]:
    """Make every issuer that may push security events, by its ``iss``.

    Args:
        settings: The configuration.
        issuers: What ``bindings`` made of it: events are verified with the same keys.

    Raises:
        ConfigError: A secret is not there; the message says file and line.
    """
    sources = {}
    for place, issuer in enumerate(settings.issuers):
        if (events := issuer.events) is None:
            continue
        with placed(settings, f"issuer.{place}.events"):
            sources[issuer.issuer] = EventSource(
                trusted=issuers[issuer.issuer].trusted,
                keys=issuers[issuer.issuer].keys,
                audience=events.audience,
                authorization=secret_at(events.authorization, settings.directory, "authorization"),
            )
    return sources


@asynccontextmanager
async def asked_issuers(settings: Settings) -> AsyncIterator[dict[str, IssuerBinding]]:
    """Make every issuer for one question; their keys are fetched when somebody needs them."""
    issuers = bindings(settings, follow=False)
    try:
        yield issuers
    finally:
        for binding in issuers.values():
            await binding.keys.aclose()
            if binding.introspector is not None:
                await binding.introspector.aclose()


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
            authentication_methods=settings.guard.authentication_methods,
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


def _binding(
    settings: Settings, place: int, issuer: IssuerSection, parts: Parts, *, follow: bool
) -> IssuerBinding:
    with placed(settings, f"issuer.{place}", f"issuer {issuer.name}: "):
        trusted = trusted_issuer(issuer)
        of_keys = [getattr(issuer, name) for name in _OF_KEYS]
        keys = parts.get(partial(key_source, issuer), "keys", *of_keys, *_certificates(issuer.ca))
        asked = _asking(issuer, trusted, settings.directory, parts)
        return IssuerBinding(
            trusted=trusted,
            keys=keys,
            policy=policy(issuer),
            revocations=_feed(issuer, settings.directory, parts) if follow else None,
            introspector=None if asked is None else asked.introspector,
            reasking=None if asked is None else asked.reasking,
            opaque_prefix=None if issuer.introspection is None else issuer.introspection.prefix,
        )


def _asking(
    issuer: IssuerSection, trusted: TrustedIssuer, directory: Path, parts: Parts
) -> Asking | None:
    section = issuer.introspection
    if section is None:
        return None
    secret = secret_of(section, directory)
    make = partial(asking, issuer, section, trusted, secret)
    # An answer is verified by the issuer's rules, so that it counts for no others.
    return parts.get(
        make, "introspection", repr(trusted), *_certificates(issuer.ca), section, secret
    )


def _inline_keys(document: str) -> KeySet:
    try:
        keys = KeySet.from_jwks(document.encode())
    except UpstreamError as error:
        raise ConfigError(f"{error.message}; write a JWK Set as JSON", key="jwks") from error
    if not keys.keys:
        why = f": {keys.rejected[0].reason}" if keys.rejected else ""
        raise ConfigError(f"there is no usable public key in it{why}; write one", key="jwks")
    return keys


def _policy_rule(row: PolicySection) -> PolicyRule:
    return PolicyRule(
        kind="scope" if row.scope else "claim",
        claim=row.claim,
        value=row.scope or row.value,
        publish=row.publish,
        subscribe=row.subscribe,
    )


def _feed(issuer: IssuerSection, directory: Path, parts: Parts) -> RevocationFeed | None:
    client = issuer.revocation_client
    if not client:
        return None
    secret = secret_at(issuer.revocation_secret, directory, "revocation_secret")
    make = partial(
        RevocationFeed, issuer.issuer, client_id=client, client_secret=secret, ca=issuer.ca
    )
    return parts.get(make, "revocations", issuer.issuer, client, secret, *_certificates(issuer.ca))


def _certificates(ca: Path | None) -> tuple[Path | None, bytes]:
    """Return a CA file and what is in it: who trusts it has read it, and reads it only once."""
    try:
        return ca, b"" if ca is None else ca.read_bytes()
    except OSError:
        return ca, b""  # whoever connects says so
