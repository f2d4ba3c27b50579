# SPDX-License-Identifier: Apache-2.0
"""From settings to running parts: issuers, key sources, policies, the guard."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.authorization.policy import SYNTAXES, Policy, PolicyRule
from keyfob.cli.fronting import mutual_tls
from keyfob.cli.introspecting import Asking, asking, secret_of
from keyfob.cli.parts import Parts
from keyfob.cli.server_database import require_encryption, server_database
from keyfob.cli.server_grants import grant_settings
from keyfob.config import (
    GrantLifetimesSection,
    IssuerSection,
    LimitsSection,
    PolicySection,
    SecretReference,
    ServerSection,
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
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.limits import LimitSettings
from keyfob.server.openid.settings import OpenIdSettings
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import Rotation
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import TrustedIssuer

__all__ = [
    "asked_issuers",
    "bindings",
    "check",
    "event_sources",
    "key_source",
    "known_revocations",
    "onlooker",
    "own_template",
    "policy",
    "server_settings",
    "signing_settings",
    "trusted_issuer",
]

# What grants are called that have no word of their own (RFC 8628, 7523, 8693).
_GRANT_TYPES: Final = {
    name: f"urn:ietf:params:oauth:grant-type:{text}"
    for name, text in (
        ("device_code", "device_code"),
        ("jwt_bearer", "jwt-bearer"),
        ("token_exchange", "token-exchange"),
    )
}

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
        with _placed(settings, f"issuer.{place}.events"):
            sources[issuer.issuer] = EventSource(
                trusted=issuers[issuer.issuer].trusted,
                keys=issuers[issuer.issuer].keys,
                audience=events.audience,
                authorization=_secret(events.authorization, settings.directory, "authorization"),
            )
    return sources


def signing_settings(settings: Settings) -> SigningSettings:
    """Make how the authorization server's signing keys follow each other, and how they rest.

    Raises:
        ConfigError: The key that they are encrypted with is not there, or is none; the message
            says file and line.
    """
    server = settings.server
    require_encryption(settings)
    with _placed(settings, "server"):
        text = _secret(server.key_encryption, settings.directory, "key_encryption")
        return SigningSettings(
            rotation=Rotation(
                algorithm=server.signing_algorithm,
                every_days=server.key_rotation_days,
                announcement=server.key_announcement,
            ),
            sealer=KeySealer(text) if text else None,
        )


def server_settings(settings: Settings) -> ServerSettings:
    """Make the authorization server's settings.

    Raises:
        ConfigError: One is not what it has to be.
    """
    server = settings.server
    return ServerSettings(
        issuer=server.issuer,
        audience=server.audience,
        database=server_database(settings),
        migrate=server.migrate,
        default_lifetime=server.token_lifetime,
        refresh=RefreshLifetimes(
            total=server.refresh_token_lifetime, idle=server.refresh_token_idle_lifetime
        ),
        signing=signing_settings(settings),
        limits=_limits(server.limits),
        token_endpoint_audience=server.token_endpoint_audience,
        assertion_lifetime=server.assertion_lifetime,
        mutual_tls=mutual_tls(settings),
        grant_lifetimes=_grant_lifetimes(server.grant_lifetimes),
        dpop_nonce=server.dpop_nonce,
        access_token_format=server.access_token_format,
        client_id_template=own_template(settings),
        admin_api=server.admin_api,
        device_code_lifetime=server.device_code_lifetime,
        openid=_openid(settings),
        **grant_settings(settings),
    )


def _grant_lifetimes(section: GrantLifetimesSection) -> dict[str, int]:
    seconds = msgspec.structs.asdict(section)
    return {_GRANT_TYPES.get(name, name): each for name, each in seconds.items() if each}


def own_template(settings: Settings) -> str:
    """Return what MQTT client identifiers are made of where the guard trusts this server."""
    own = [one for one in settings.issuers if one.issuer == settings.server.issuer]
    return own[0].client_id_template if own else "{device}"


def _openid(settings: Settings) -> OpenIdSettings | None:
    section = settings.server.openid
    if not section.issuer:
        return None
    with _placed(settings, "server.openid"):
        return OpenIdSettings(
            issuer=section.issuer,
            client_id=section.client_id,
            client_secret=_secret(section.client_secret, settings.directory, "client_secret"),
            claim=section.claim,
            ca=section.ca,
        )


def _limits(section: LimitsSection) -> LimitSettings | None:
    numbers = msgspec.structs.asdict(section)
    enabled = numbers.pop("enabled")
    return LimitSettings(**numbers) if enabled else None


def check(settings: Settings) -> None:
    """Refuse, before anything starts, what the server or the guard would refuse.

    Raises:
        ConfigError: The message says file and line.
    """
    try:
        server_settings(settings)
    except ConfigError as error:
        if error.key:  # it says already where
            raise
        raise settings.wrong("server.issuer", error.message) from error
    bindings(settings)
    for key, path in _files(settings):
        if path is not None and not os.access(path, os.R_OK):
            raise settings.wrong(key, "cannot be read; write the path of a file that is there")
    for key, text in _secrets(settings):
        if text:
            with _placed(settings, key):
                SecretReference.parse(text, settings.directory).read()


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
    with _placed(settings, f"issuer.{place}", f"issuer {issuer.name}: "):
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


@contextmanager
def _placed(settings: Settings, section: str, prefix: str = "") -> Iterator[None]:
    """Say of errors within where they come from: their key stands in this section."""
    try:
        yield
    except ConfigError as error:
        key = f"{section}.{error.key}" if error.key else section
        message = error.message.removeprefix(prefix).removeprefix(f"{error.key}: ")
        raise settings.wrong(key, message) from error


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
    secret = _secret(issuer.revocation_secret, directory, "revocation_secret")
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


def _secret(reference: str, directory: Path, key: str) -> str:
    if not reference:
        return ""
    try:
        return SecretReference.parse(reference, directory).read()
    except ConfigError as error:
        raise ConfigError(error.message, key=key) from error


def _files(settings: Settings) -> Iterator[tuple[str, Path | None]]:
    """List the files that must be there before anything starts, with their keys."""
    for name in ("certificate", "private_key"):
        path = getattr(settings.server, name)
        # What is there by default `keyfob up` makes, wherever it stands in the file.
        if path != settings.directory / getattr(ServerSection(), name):
            yield f"server.{name}", path
    yield "server.client_ca", settings.server.client_ca
    yield "server.metrics.certificate", settings.server.metrics.certificate
    yield "server.metrics.private_key", settings.server.metrics.private_key
    yield "server.openid.ca", settings.server.openid.ca
    yield "guard.http.certificate", settings.guard.http.certificate
    yield "guard.http.private_key", settings.guard.http.private_key
    for place, issuer in enumerate(settings.issuers):
        yield f"issuer.{place}.ca", issuer.ca


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """List every reference to a secret with its key; empty ones too."""
    yield "server.openid.client_secret", settings.server.openid.client_secret
    for place, issuer in enumerate(settings.issuers):
        key = f"issuer.{place}"
        yield f"{key}.revocation_secret", issuer.revocation_secret
        if (asking := issuer.introspection) is not None:
            yield f"{key}.introspection.client_secret", asking.client_secret
            yield f"{key}.introspection.private_key", asking.private_key
        if issuer.events is not None:
            yield f"{key}.events.authorization", issuer.events.authorization
