# SPDX-License-Identifier: Apache-2.0
"""What ``keyfob doctor`` can find, and the parts of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from keyfob import findings
from keyfob.findings import Severity

__all__ = ["CODES", "Finding", "Section", "Severity", "found"]

CODES: Final = frozenset(
    {
        # the way to a server: the issuer's or the broker
        "name_unresolved",
        "port_closed",
        "no_answer",
        "tls_failed",
        "certificate_unknown_ca",
        "certificate_wrong_name",
        "certificate_expired",
        "certificate_not_yet_valid",
        "certificate_untrusted",
        "certificate_ends_soon",
        # the authorization server
        "metadata_missing",
        "metadata_invalid",
        "issuer_differs",
        "endpoint_unusable",
        "grant_not_offered",
        "authentication_not_offered",
        "jwks_unusable",
        "clock_off",
        "clock_drifts",
        "clock_unknown",
        # the token
        "token_refused",
        "token_unavailable",
        "token_opaque",
        "token_unreadable",
        "token_algorithm",
        "token_type",
        "token_issuer_differs",
        "token_signature",
        "token_claim_missing",
        "token_lifetime",
        "token_lifetime_differs",
        "token_clock_differs",
        "token_too_long",
        "token_large",
        "token_bound",
        "identifier_differs",
        "connect_scope_missing",
        "rights_unreadable",
        "rights_none",
        # the broker
        "broker_without_tls",
        "mqtt5_not_spoken",
        "mqtt311_not_spoken",
        "no_way_in",
        "broker_unavailable",
        "carry_refused",
        "anonymous_allowed",
        "token_unchecked",
        "refusal_unexplained",
        "no_reauthentication",
        "reauthentication_refused",
        "rights_unenforced",
        "right_refused",
    }
)


@dataclass(frozen=True, slots=True)
class Finding(findings.Finding):
    """Something that is wrong with a device's way to its broker."""

    codes: ClassVar[frozenset[str]] = CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the report.

    Attributes:
        facts: What was seen, by what it is called: texts, numbers, or lists and objects of them.
        findings: What is wrong, or worth knowing.
    """

    facts: Mapping[str, object] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def __or__(self, other: Section) -> Section:
        """Return this part with another behind it."""
        return Section(
            facts={**self.facts, **other.facts}, findings=(*self.findings, *other.findings)
        )


def found(code: str, what: str, mend: str, severity: Severity = Severity.WRONG) -> Section:
    """Return a part with nothing but one finding."""
    return Section(findings=(Finding(code, what, mend, severity=severity),))
