# SPDX-License-Identifier: Apache-2.0
"""What an authorization server says of itself, against what this client wants; a flow, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keyfob.cli.doctor.clock_checks import Sample, Skew, check_clock, sample_of, skew_of
from keyfob.cli.doctor.finding import Finding, Section, Severity
from keyfob.cli.shown import shown
from keyfob.device.clock import Clock
from keyfob.device.flow import Answer, Exchange, Flow
from keyfob.errors import TokenUnavailableError, UpstreamError
from keyfob.oauth.metadata import Metadata, json_object, metadata_urls, read_metadata
from keyfob.tokens.keys import KeySet

__all__ = ["DEVICE_CODE", "ClientKind", "IssuerReport", "examine_issuer"]

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKind:
    """Which client asks which server.

    Attributes:
        issuer: The issuer identifier.
        grant_type: As a token request names it.
        authentication: As metadata name it, such as ``client_secret_basic`` or ``none``; where
            there are several names, any of them will do.
        mutual_tls: Whether the client shows a certificate.
    """

    issuer: str
    grant_type: str
    authentication: tuple[str, ...]
    mutual_tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerReport:
    """What there is to say about a server.

    Attributes:
        section: The report's part.
        keys: What its tokens are signed with; None: that cannot be read.
        skew: How its clock goes; None: that cannot be told.
    """

    section: Section
    keys: KeySet | None = None
    skew: Skew | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What one of the two places of metadata holds."""

    metadata: Metadata | None = None
    fault: Finding | None = None


def examine_issuer(client: ClientKind, clock: Clock) -> Flow[IssuerReport]:
    """Read a server's metadata and keys, and its clock by the way.

    Args:
        client: Who is to be served.
        clock: Tells this machine's time.

    Raises:
        ConfigError: The issuer is no URL that may be fetched.
    """
    samples: list[Sample] = []
    read: list[_Read] = []
    for url in metadata_urls(client.issuer):
        answer = yield from _get(url, clock, samples)
        read.append(_metadata(client.issuer, url, answer))
    metadata = next((one.metadata for one in read if one.metadata), None)
    if metadata is None:
        section = Section(findings=(_worst(one.fault for one in read if one.fault),))
        return IssuerReport(section=section | check_clock(samples), skew=skew_of(samples))
    section = Section(facts={"metadata": metadata.url})
    section |= _check_endpoints(client, metadata)
    section |= _check_grant(client, metadata) | _check_authentication(client, metadata)
    keys, about_keys = yield from _keys(metadata, clock, samples)
    section |= about_keys | check_clock(samples)
    return IssuerReport(section=section, keys=keys, skew=skew_of(samples))


def _get(url: str, clock: Clock, samples: list[Sample]) -> Flow[Answer | str]:
    """Fetch a document; in words, why it is not there."""
    sent = clock().wall
    try:
        answer = yield Exchange(url=url)
    except TokenUnavailableError as error:
        return error.message
    assert answer is not None  # noqa: S101 - what an Exchange is answered with
    sample = sample_of(answer.headers, sent, clock().wall)
    if sample is not None:
        samples.append(sample)
    return answer


# Metadata


def _metadata(issuer: str, url: str, answer: Answer | str) -> _Read:
    if isinstance(answer, str) or answer.status != 200:
        why = answer if isinstance(answer, str) else f"{url} answers with {answer.status}"
        return _Read(
            fault=Finding(
                "metadata_missing",
                f"there are no metadata: {why}; no device finds its endpoints",
                "correct --issuer, or have the server publish them (RFC 8414)",
            )
        )
    try:
        metadata = read_metadata(issuer, url, answer.body)
        found = json_object(url, answer.body).get("issuer")
    except UpstreamError as error:
        return _Read(
            fault=Finding(
                "metadata_invalid",
                f"the metadata cannot be read: {error.message}",
                "look with a browser what the server answers there",
            )
        )
    if metadata is not None:
        return _Read(metadata=metadata)
    theirs = shown(found) if isinstance(found, str) else "nobody"
    slash = isinstance(found, str) and found.rstrip("/") == issuer.rstrip("/")
    return _Read(
        fault=Finding(
            "issuer_differs",
            f"{url} has the metadata of {theirs}, which is another issuer than {issuer}: they must"
            " not be used (RFC 8414 section 3.3)",
            f"write --issuer {theirs}" + (", slash and all" if slash else ", if that is meant"),
        )
    )


def _worst(faults: Iterable[Finding]) -> Finding:
    order = ("issuer_differs", "metadata_invalid", "metadata_missing")
    return min(faults, key=lambda fault: order.index(fault.code))


def _check_endpoints(client: ClientKind, metadata: Metadata) -> Section:
    names = ["token_endpoint"]
    if client.grant_type == DEVICE_CODE:
        names.append("device_authorization_endpoint")
    section = Section()
    for name in names:
        try:
            address = metadata.address(name, mutual_tls=client.mutual_tls)
        except UpstreamError as error:
            fault = Finding(
                "endpoint_unusable",
                f"{error.message}: nobody can ask for a token",
                "correct the server's own address; endpoints are https, and on this machine only"
                " where the issuer is",
            )
            section |= Section(findings=(fault,))
        else:
            section |= Section(facts={name: address})
    return section


def _check_grant(client: ClientKind, metadata: Metadata) -> Section:
    offered = metadata.listed("grant_types_supported")
    if offered is None:  # by RFC 8414 two that no device uses; many leave it out and offer more
        return Section(facts={"grants": "not told"})
    facts = {"grants": list(offered)}
    if client.grant_type in offered:
        return Section(facts=facts)
    missing = Finding(
        "grant_not_offered",
        f"the server does not offer the grant {client.grant_type}, by which a token is asked for",
        f"enable it there, or use another; it offers {_list(offered)}",
    )
    return Section(facts=facts, findings=(missing,))


def _check_authentication(client: ClientKind, metadata: Metadata) -> Section:
    told = metadata.listed("token_endpoint_auth_methods_supported")
    offered = ("client_secret_basic",) if told is None else told  # RFC 8414 section 2
    facts: dict[str, object] = {"authentication": list(offered) if told is not None else "not told"}
    algorithms = metadata.listed("dpop_signing_alg_values_supported")
    facts["dpop"] = list(algorithms) if algorithms else "no"
    if set(client.authentication) & set(offered):
        return Section(facts=facts)
    # Public clients prove nothing: many servers take them and do not list "none".
    severity = Severity.NOTE if client.authentication == ("none",) else Severity.WRONG
    missing = Finding(
        "authentication_not_offered",
        f"the server does not offer {' or '.join(client.authentication)}, by which this client"
        " authenticates",
        f"enable it there, or use another; it offers {_list(offered)}",
        severity=severity,
    )
    return Section(facts=facts, findings=(missing,))


# Keys


def _keys(
    metadata: Metadata, clock: Clock, samples: list[Sample]
) -> Flow[tuple[KeySet | None, Section]]:
    try:
        url = metadata.address("jwks_uri")
    except UpstreamError as error:
        return None, _no_keys(error.message, Severity.NOTE)
    answer = yield from _get(url, clock, samples)
    if isinstance(answer, str) or answer.status != 200:
        why = answer if isinstance(answer, str) else f"{url} answers with {answer.status}"
        return None, _no_keys(why)
    try:
        keys = KeySet.from_jwks(answer.body)
    except UpstreamError as error:
        return None, _no_keys(f"{url}: {error.message}")
    refused = [f"{shown(one.kid or 'unnamed')}: {shown(one.reason)}" for one in keys.rejected]
    facts = {"keys": [f"{shown(key.kid or 'unnamed')} {key.algorithm}" for key in keys.keys]}
    if not keys.keys:
        return None, Section(facts=facts) | _no_keys(f"{url} has none that is of use: {refused}")
    return keys, Section(facts=facts | ({"keys_ignored": refused} if refused else {}))


def _no_keys(why: str, severity: Severity = Severity.WRONG) -> Section:
    found = Finding(
        "jwks_unusable",
        f"the keys that tokens are signed with cannot be read ({why}): only who asks the server"
        " about each token (introspection) can check it",
        "have the server publish its keys under jwks_uri, if its tokens are JWTs",
        severity=severity,
    )
    return Section(findings=(found,))


def _list(words: Iterable[str]) -> str:
    return ", ".join(map(shown, words)) or "none"
