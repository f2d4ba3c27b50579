# SPDX-License-Identifier: Apache-2.0
"""The whole examination: issuer, token, broker; what can be looked at is, whatever else fails."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from keyfob.cli.doctor.broker_checks import Wanted, examine_broker
from keyfob.cli.doctor.finding import Finding, Section, Severity
from keyfob.cli.doctor.identity import check_identifier, identifier_to_use
from keyfob.cli.doctor.issuer_checks import IssuerReport, examine_issuer
from keyfob.cli.doctor.reaching import Server, reach
from keyfob.cli.doctor.rights import Allowed, read_rights
from keyfob.cli.doctor.sizes import check_sizes
from keyfob.cli.doctor.subject import BrokerWish, Subject
from keyfob.cli.doctor.taking import Taken, take_token
from keyfob.cli.doctor.token_checks import Seen, check_token, look_into
from keyfob.cli.doctor.trying import Trying, broken, ways_to_try
from keyfob.device import Token
from keyfob.device.clock import Clock
from keyfob.device.driving import drive, tls_context
from keyfob.errors import TokenUnavailableError
from keyfob.findings import Finding as AnyFinding
from keyfob.loopback import is_loopback

__all__ = ["Report", "examine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was seen.

    Attributes:
        issuer: Of the authorization server.
        token: Of the token.
        broker: Of the broker; None: none was named.
        secrets: What must be in no answer, whoever sent it back.
    """

    issuer: Section
    token: Section
    broker: Section | None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def findings(self) -> list[AnyFinding]:
        """Everything that is wrong, or worth knowing."""
        parts = (self.issuer, self.token, self.broker or Section())
        return [finding for part in parts for finding in part.findings]


def examine(subject: Subject, wish: BrokerWish | None, clock: Clock) -> Report:
    """Look at everything.

    Args:
        subject: Whose way it is.
        wish: The broker; None: none is looked at.
        clock: Tells this machine's time.

    Raises:
        ConfigError: What was asked for does not fit together.
    """
    issuer = _examine_issuer(subject, wish.patience if wish else 10.0, clock)
    taken = _take(subject)
    if taken.token is None:
        broker = _reach_broker(wish, clock)[0] if wish else None
        return Report(issuer=issuer.section, token=taken.section, broker=broker)
    seen = look_into(taken.token)
    allowed, rights = read_rights(seen, next(iter(seen.identities.values()), ""))
    identifier = identifier_to_use(wish, seen, subject) if wish else ""
    named = (wish.identifier or wish.target.client_identifier) if wish else ""
    section = check_token(
        seen,
        issuer=subject.client.issuer,
        keys=issuer.keys,
        skew=issuer.skew,
        fetched=taken.fetched,
    )
    longest = named or next(iter((*seen.identities.values(), *subject.names)), "")
    section |= check_sizes(taken.token.access_token, longest)
    section |= check_identifier(seen, named) | rights
    broker = _examine_broker(wish, seen, allowed, identifier, clock) if wish else None
    return Report(
        issuer=issuer.section, token=section, broker=broker, secrets=_secrets(taken.token)
    )


def _secrets(token: Token) -> tuple[str, ...]:
    """Return what no answer may hold; a broken token is the token, but for one character."""
    texts = [token.access_token, token.refresh_token]
    with contextlib.suppress(TokenUnavailableError):
        texts.append(broken(token).access_token)
    return tuple(filter(None, texts))


def _examine_issuer(subject: Subject, patience: float, clock: Clock) -> IssuerReport:
    context = tls_context(subject.ca, subject.certificate)
    parts = urlsplit(subject.client.issuer)
    host, is_tls = parts.hostname or "", parts.scheme == "https"
    if _is_proxied(parts.scheme, host):
        way = Section(facts={"proxy": "as the environment says; its way is not looked at"})
    else:
        server = Server(
            host=host,
            port=parts.port or (443 if is_tls else 80),
            context=context if is_tls else None,
            ca_option="--ca",
            timeout=patience,
        )
        way = reach(server, clock().wall)
        if any(finding.severity is not Severity.NOTE for finding in way.findings):
            return IssuerReport(section=way)
    report = asyncio.run(drive(examine_issuer(subject.client, clock), context))
    return IssuerReport(section=way | report.section, keys=report.keys, skew=report.skew)


def _is_proxied(scheme: str, host: str) -> bool:
    """Tell whether a proxy of the environment takes requests there, as httpx does."""
    proxies = getproxies()
    named = scheme in proxies or "all" in proxies
    return named and not is_loopback(host) and not proxy_bypass(host)


def _take(subject: Subject) -> Taken:
    if subject.source is not None:
        return take_token(subject.source)
    mend = "have somebody approve this device, and start again"
    missing = Finding("token_unavailable", f"there is no token: {subject.why}", mend)
    return Taken(section=Section(findings=(missing,)))


def _reach_broker(wish: BrokerWish, clock: Clock) -> tuple[Section, ssl.SSLContext | None, bool]:
    """Say what there is on the way to a broker, and whether something may be shown to it."""
    address = wish.target.address
    context = wish.target.tls.context() if address.tls else None
    if context is None and not is_loopback(address.host):
        plain = Finding(
            "broker_without_tls",
            f"{address} is spoken to without TLS: whoever is on the way reads the token and uses"
            " it; nothing was shown to it",
            "use mqtts:// or wss://",
            severity=Severity.GRAVE,
        )
        return Section(findings=(plain,)), None, False
    server = Server(
        host=address.host,
        port=address.port,
        context=context,
        ca_option="--broker-ca",
        timeout=wish.patience,
    )
    way = reach(server, clock().wall)
    return way, context, all(finding.severity is Severity.NOTE for finding in way.findings)


def _examine_broker(
    wish: BrokerWish, seen: Seen, allowed: Allowed, identifier: str, clock: Clock
) -> Section:
    way, context, trusted = _reach_broker(wish, clock)
    if not trusted:
        return way
    address = wish.target.address
    trying = Trying(
        address=address,
        context=context,
        token=seen.token,
        identifier=identifier,
        username=wish.target.username,
        patience=wish.patience,
    )
    wanted = Wanted(
        ways=ways_to_try(address, (*wish.methods, *_method(wish.carry))),
        carry=wish.carry,
        allowed=allowed,
        bound=seen.claims.get("cnf") is not None or seen.token.token_type.lower() == "dpop",
        publish=wish.publish,
    )
    facts = {"client_identifier": identifier or "none: the broker assigns one"}
    return way | Section(facts=facts) | examine_broker(trying, wanted)


def _method(carry: str) -> tuple[str, ...]:
    name = carry.removeprefix("auth:")
    return (name,) if carry.startswith("auth:") else ()
