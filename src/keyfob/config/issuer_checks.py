# SPDX-License-Identifier: Apache-2.0
"""What the types of an ``[[issuer]]`` section cannot say of its values."""

from __future__ import annotations

from typing import Final

from keyfob.config.presets import PRESETS
from keyfob.config.secret_reference import SecretReference
from keyfob.config.sections import EventsSection, IntrospectionSection, IssuerSection
from keyfob.config.source import Source
from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError

__all__ = ["check_issuer"]

_BOUNDS: Final = (
    # A clock that is an hour wrong is no clock.
    ("leeway", 0, 3_600),
    # Issuers remember revocations a while longer than tokens live, ten minutes where it is ours.
    ("expiry_leeway", 0, 300),
    ("max_lifetime", 0, 10 * 366 * 86_400),
    # A key that an issuer withdraws is gone here within a day.
    ("jwks_refresh", 1, 86_400),
    ("jwks_cooldown", 1, 3_600),
)
_INTROSPECTION_BOUNDS: Final = (
    ("timeout_ms", 1, 60_000),
    # As long as it may take until a revocation of the issuer is noticed.
    ("cache", 0, 3_600),
    ("negative_cache", 0, 3_600),
    ("reask", 1, 86_400),
)
_KEY_SOURCES: Final = ("jwks", "jwks_file", "jwks_uri")
_ASSERTION_ALGORITHMS: Final = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519")
# Sections that mean something only where ``rights`` names them.
_RIGHTS_SECTIONS: Final = ("authorization_details", "emqx_acl", "rabbitmq")


def check_issuer(issuer: IssuerSection, key: str, source: Source) -> None:
    """Check one section.

    Args:
        issuer: The section.
        key: What it is called in the file: ``issuer.0``.
        source: Where it stands.

    Raises:
        ConfigError: The first thing that is wrong, with its line.
    """
    if not issuer.name or ":" in issuer.name or not issuer.name.isprintable():
        raise source.wrong(
            f"{key}.name", "write a short name without ':', which is shown before the subject"
        )
    if not issuer.audience or "" in issuer.audience:
        raise source.wrong(f"{key}.audience", "is empty; write what the tokens' audience must be")
    _check_bounds(issuer, _BOUNDS, key, source)
    _check_addresses(issuer, key, source)
    _check_require(issuer, key, source)
    _check_rights(issuer, key, source)
    if bool(issuer.revocation_client) != bool(issuer.revocation_secret):
        raise source.wrong(
            f"{key}.revocation_client", "goes with revocation_secret; write both or neither"
        )
    _check_secret(issuer.revocation_secret, f"{key}.revocation_secret", source)
    if issuer.introspection is not None:
        _check_introspection(issuer.introspection, f"{key}.introspection", source)
    if issuer.events is not None:
        if not issuer.algorithms:
            raise source.wrong(
                f"{key}.algorithms",
                'is empty, so that no event is believed; write what signs them, as in ["ES256"]',
            )
        _check_events(issuer.events, issuer.max_lifetime, key, source)


def _check_bounds(
    section: IssuerSection | IntrospectionSection,
    bounds: tuple[tuple[str, int, int], ...],
    key: str,
    source: Source,
) -> None:
    for name, lowest, highest in bounds:
        if not lowest <= getattr(section, name) <= highest:
            raise source.wrong(f"{key}.{name}", f"is out of range; write {lowest} to {highest}")


def _check_addresses(issuer: IssuerSection, key: str, source: Source) -> None:
    given = [name for name in _KEY_SOURCES if getattr(issuer, name)]
    if len(given) > 1:
        raise source.wrong(
            f"{key}.{given[1]}", f"keys come from one place; write {given[0]} or {given[1]}"
        )
    # An issuer that is never fetched may be any text, but not an address without TLS.
    fetched = not given or bool(issuer.revocation_client) or _discovers(issuer.introspection)
    if (fetched or "://" in issuer.issuer) and (fault := url_fault(issuer.issuer)):
        raise source.wrong(f"{key}.issuer", fault)
    if not issuer.issuer:
        raise source.wrong(f"{key}.issuer", "is empty; write the exact iss of the tokens")
    if issuer.jwks_uri and (fault := url_fault(issuer.jwks_uri)):
        raise source.wrong(f"{key}.jwks_uri", fault)


def _discovers(introspection: IntrospectionSection | None) -> bool:
    return introspection is not None and not introspection.endpoint


def _check_require(issuer: IssuerSection, key: str, source: Source) -> None:
    known = PRESETS.get(issuer.preset, {}).get("require", {})
    for claim, value in issuer.require.items():
        if not claim or not (value or claim in known):
            raise source.wrong(
                f"{key}.require.{claim}", "is empty; write the text that the claim must be"
            )


def _check_rights(issuer: IssuerSection, key: str, source: Source) -> None:
    for place, name in enumerate(issuer.rights):
        if name in issuer.rights[:place]:
            raise source.wrong(f"{key}.rights.{place}", "stands twice; write it once")
    for name in _RIGHTS_SECTIONS:
        if name not in issuer.rights and f"{key}.{name}" in source.lines:
            raise source.wrong(
                f"{key}.{name}", f'has no effect; write rights = ["{name}"], or leave it out'
            )
    for place, row in enumerate(issuer.policy):
        if bool(row.scope) == bool(row.claim) or bool(row.claim) != (row.value != ""):
            raise source.wrong(
                f"{key}.policy.{place}", 'write either scope = "…", or claim = "…" and value = "…"'
            )


def _check_introspection(section: IntrospectionSection, key: str, source: Source) -> None:
    _check_bounds(section, _INTROSPECTION_BOUNDS, key, source)
    if section.endpoint and (fault := url_fault(section.endpoint)):
        raise source.wrong(f"{key}.endpoint", fault)
    if not section.client_id:
        raise source.wrong(f"{key}.client_id", "is missing; write whom the guard asks as")
    by_key = section.authentication == "private_key_jwt"
    needed, other = ("private_key", "client_secret") if by_key else ("client_secret", "private_key")
    if not getattr(section, needed):
        raise source.wrong(
            f"{key}.{needed}",
            f'is missing for {section.authentication}; write {needed} = "file:PATH"',
        )
    if getattr(section, other):
        raise source.wrong(
            f"{key}.{other}", f"has no use with {section.authentication}; write {needed} alone"
        )
    _check_secret(section.client_secret, f"{key}.client_secret", source)
    _check_secret(section.private_key, f"{key}.private_key", source)
    if section.algorithm not in _ASSERTION_ALGORITHMS:
        algorithms = ", ".join(_ASSERTION_ALGORITHMS)
        raise source.wrong(f"{key}.algorithm", f"is not supported; write one of {algorithms}")


def _check_events(section: EventsSection, max_lifetime: int, key: str, source: Source) -> None:
    if not max_lifetime:
        raise source.wrong(
            f"{key}.max_lifetime",
            "events need it, to know how long a revocation counts; write how many seconds the"
            " issuer's tokens live at most",
        )
    if not section.audience:
        raise source.wrong(f"{key}.events.audience", "is missing; write the aud of the events")
    _check_secret(section.authorization, f"{key}.events.authorization", source)


def _check_secret(text: str, key: str, source: Source) -> None:
    if not text:
        return
    try:
        SecretReference.parse(text, source.path.parent)
    except ConfigError as error:
        raise source.wrong(key, error.message) from error
