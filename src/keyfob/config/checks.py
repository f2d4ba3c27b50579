# SPDX-License-Identifier: Apache-2.0
"""What the types of ``[server]``, ``[guard]`` and ``[mosquitto]`` cannot say of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

from keyfob.config.audit_targets import AuditTarget
from keyfob.config.issuer_checks import check_issuer
from keyfob.config.own_issuer import check_own_issuer
from keyfob.config.sections import (
    Document,
    GrantLifetimesSection,
    HttpSection,
    IssuerSection,
    MosquittoSection,
)
from keyfob.config.server_database import database_fault
from keyfob.config.source import Source
from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError

__all__ = ["check_document"]

MAX_METHOD: Final = 255
"""Bytes of a method's name: the plugin refuses a longer one unasked."""

_LIMITED: Final = ("client", "service", "address", "failure", "address_failure")
_GRANTS: Final = GrantLifetimesSection.__struct_fields__
_BOUNDS: Final = (
    ("server.port", 1, 65_535),
    ("server.token_lifetime", 1, 86_400),
    ("server.refresh_token_lifetime", 1, 31_536_000),
    ("server.refresh_token_idle_lifetime", 1, 31_536_000),
    *((f"server.grant_lifetimes.{grant}", 0, 86_400) for grant in _GRANTS),
    ("server.key_rotation_days", 0, 3_650),
    # Twice as long as the key set may be cached, and at most a week.
    ("server.key_announcement", 600, 604_800),
    *((f"server.limits.{who}_burst", 1, 1_000_000) for who in _LIMITED),
    *((f"server.limits.{who}_rate", 0.001, 1_000_000) for who in _LIMITED),
    ("server.metrics.port", 0, 65_535),
    # Of each of five kinds; a million of them take some hundreds of megabytes.
    ("server.limits.tracked", 1, 1_000_000),
    ("server.assertion_lifetime", 1, 3_600),
    # A process takes some 60 MB, and more of them than cores decide nothing faster.
    ("guard.workers", 1, 64),
    ("guard.ready_timeout", 0, 3_600),
    ("guard.blocking_wait_ms", 0, 1_000),
    ("guard.http.port", 0, 65_535),
    ("mosquitto.port", 1, 65_535),
    ("mosquitto.plain_port", 0, 65_535),
    ("mosquitto.websockets_port", 0, 65_535),
    ("mosquitto.autosave_interval", 1, 86_400),
    ("mosquitto.guard_timeout_ms", 1, 10_000),
    ("mosquitto.exchange_timeout_ms", 100, 60_000),
)
_HOSTS: Final = ("server.host", "server.metrics.host", "guard.http.host", "mosquitto.host")


def check_document(document: Document, source: Source) -> None:
    """Check every section, and what one asks of another.

    Raises:
        ConfigError: The first thing that is wrong, with its line.
    """
    for key, lowest, highest in _BOUNDS:
        # Written so that a NaN is outside.
        if not lowest <= attrgetter(key)(document) <= highest:
            raise source.wrong(key, f"is out of range; write {lowest} to {highest}")
    for key in _HOSTS:
        if not attrgetter(key)(document):
            raise source.wrong(key, "is empty; write an address, or 0.0.0.0 for all")
    _check_ports(document.mosquitto, source)
    if fault := url_fault(document.server.issuer):
        raise source.wrong("server.issuer", fault)
    if fault := database_fault(document.server.database):
        raise source.wrong("server.database", fault)
    if not document.server.audience:
        raise source.wrong("server.audience", "is empty; write what tokens shall carry as aud")
    _check_pair("server.metrics", document.server.metrics, source)
    _check_guard(document, source)
    for place, issuer in enumerate(document.issuer):
        check_issuer(issuer, f"issuer.{place}", source)
    _check_between_issuers(document.issuer, source)
    check_own_issuer(document.server, document.issuer, source)
    for place, issuer in enumerate(document.issuer):
        if issuer.events is not None and not document.guard.http.port:
            raise source.wrong(
                f"issuer.{place}.events",
                "nobody listens for events; write port = 9443, or another, in [guard.http]",
            )


def _check_guard(document: Document, source: Source) -> None:
    guard = document.guard
    if not guard.token_fields:
        raise source.wrong("guard.token_fields", 'is empty; write ["password", "username"] or one')
    _check_methods(guard.authentication_methods, source)
    for place, text in enumerate(guard.audit):
        try:
            AuditTarget.parse(text, source.path.parent)
        except ConfigError as error:
            raise source.wrong(f"guard.audit.{place}", error.message) from error
        if text in guard.audit[:place]:
            raise source.wrong(f"guard.audit.{place}", "stands twice; write it once")
        if text == "stdout" and guard.workers > 1:
            # The lead puts before each line of a worker whose it is.
            fault = "is for one process; write file:PATH or syslog where guard.workers is above 1"
            raise source.wrong(f"guard.audit.{place}", fault)
    _check_pair("guard.http", guard.http, source)


def _check_methods(names: Sequence[str], source: Source) -> None:
    for place, name in enumerate(names):
        key = f"guard.authentication_methods.{place}"
        if not name.isprintable() or not 0 < len(name.encode()) <= MAX_METHOD:
            raise source.wrong(
                key, f"is no name; write 1 to {MAX_METHOD} bytes, all of them printable"
            )
        if name in names[:place]:
            raise source.wrong(key, "stands twice; write it once")


def _check_ports(mosquitto: MosquittoSection, source: Source) -> None:
    """A port is one listener's."""
    if mosquitto.plain_port == mosquitto.port:  # which is never 0
        raise source.wrong(
            "mosquitto.plain_port", "is the port with TLS, too; write another, or 0 for none"
        )
    others = {mosquitto.port, mosquitto.plain_port}
    if mosquitto.websockets_port and mosquitto.websockets_port in others:
        raise source.wrong(
            "mosquitto.websockets_port", "is another listener's port; write another, or 0 for none"
        )


def _check_pair(key: str, http: HttpSection, source: Source) -> None:
    if (http.certificate is None) != (http.private_key is None):
        lacking = "certificate" if http.certificate is None else "private_key"
        raise source.wrong(key, f'{lacking} is missing; write {lacking} = "PATH" too')


def _check_between_issuers(issuers: Sequence[IssuerSection], source: Source) -> None:
    _check_once(issuers, "name", attrgetter("name"), source)
    _check_once(issuers, "issuer", attrgetter("issuer"), source)
    asked: dict[str, int] = {}
    for place, issuer in enumerate(issuers):
        if issuer.introspection is None:
            continue
        prefix = issuer.introspection.prefix
        before = asked.setdefault(prefix, place)
        if before != place:
            which = f"opaque tokens that begin with {prefix!a}" if prefix else "every opaque token"
            raise source.wrong(
                f"issuer.{place}.introspection.prefix",
                f"issuer.{before} is asked about {which} already; write what this issuer's"
                " tokens begin with",
            )


def _check_once(
    issuers: Sequence[IssuerSection],
    key: str,
    value: Callable[[Any], str],
    source: Source,
) -> None:
    first: dict[str, int] = {}
    for place, issuer in enumerate(issuers):
        before = first.setdefault(value(issuer), place)
        if before != place:
            raise source.wrong(
                f"issuer.{place}.{key}",
                f"stands twice, in issuer.{before} as well; write another, or join the sections",
            )
