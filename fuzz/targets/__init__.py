# SPDX-License-Identifier: Apache-2.0
"""All targets, in the order in which they run: one file each, named after what it fuzzes."""

from __future__ import annotations

from typing import Final

from fuzz.target import Target
from fuzz.targets import (
    altered_tokens,
    broker_proofs,
    certificate_headers,
    certificate_subjects,
    claims,
    client_certificates,
    compact_jws,
    configuration,
    connects,
    dpop_proofs,
    forms,
    guard_link_frames,
    http_basic,
    introspection_answers,
    key_sets,
    other_jwts,
    plugin_frames,
    plugin_permissions,
    plugin_topics,
    requested_keys,
    revocation_pages,
    rights,
    scopes,
    security_events,
    signed_claims,
    strict_json,
    token_answers,
    topics,
)

__all__ = ["TARGETS"]

TARGETS: Final[tuple[Target, ...]] = (
    compact_jws.TARGET,
    altered_tokens.TARGET,
    signed_claims.TARGET,
    other_jwts.TARGET,
    strict_json.TARGET,
    claims.TARGET,
    key_sets.TARGET,
    scopes.TARGET,
    rights.TARGET,
    introspection_answers.TARGET,
    token_answers.TARGET,
    security_events.TARGET,
    connects.TARGET,
    topics.TARGET,
    guard_link_frames.TARGET,
    forms.TARGET,
    http_basic.TARGET,
    certificate_headers.TARGET,
    certificate_subjects.TARGET,
    client_certificates.TARGET,
    dpop_proofs.TARGET,
    broker_proofs.TARGET,
    requested_keys.TARGET,
    configuration.TARGET,
    revocation_pages.TARGET,
    plugin_frames.TARGET,
    plugin_topics.TARGET,
    plugin_permissions.TARGET,
)
