# SPDX-License-Identifier: Apache-2.0
"""keyfob.toml, parsed once into frozen settings.

An unknown key is an error that names the nearest valid one, every error says file, line and what
to write, relative paths are relative to the file, and every value knows where it came from
(``Settings.origin``). Secrets are only ever references: ``file:PATH`` or ``env:NAME``.

How a file becomes settings, in the order in which it happens:

1. ``source`` reads it; ``lines`` finds the line of every key.
2. ``document`` looks for unknown keys, lays the file's values over those of the ``presets`` that
   it names, and gives everything the types of ``sections``.
3. ``checks`` and ``issuer_checks`` look at what a type alone cannot say.
"""

from keyfob.config.audit_targets import AuditTarget
from keyfob.config.presets import PRESETS
from keyfob.config.secret_reference import SecretReference
from keyfob.config.sections import (
    AuthorizationDetailsSection,
    Document,
    EmqxAclSection,
    EventsSection,
    GrantLifetimesSection,
    GuardSection,
    HttpSection,
    IntrospectionSection,
    IssuerSection,
    LimitsSection,
    MosquittoSection,
    OpenIdSection,
    PolicySection,
    ProxySection,
    RabbitmqSection,
    ResourceSection,
    ServerSection,
    TrustedIssuerSection,
)
from keyfob.config.server_database import database_fault, database_kind
from keyfob.config.settings import FILE_NAME, Settings, load
from keyfob.config.source import Origin
from keyfob.config.unknown_keys import nearest

__all__ = [
    "FILE_NAME",
    "PRESETS",
    "AuditTarget",
    "AuthorizationDetailsSection",
    "Document",
    "EmqxAclSection",
    "EventsSection",
    "GuardSection",
    "HttpSection",
    "IntrospectionSection",
    "IssuerSection",
    "GrantLifetimesSection",
    "LimitsSection",
    "MosquittoSection",
    "OpenIdSection",
    "Origin",
    "PolicySection",
    "ProxySection",
    "RabbitmqSection",
    "ResourceSection",
    "SecretReference",
    "ServerSection",
    "Settings",
    "TrustedIssuerSection",
    "database_fault",
    "database_kind",
    "load",
    "nearest",
]
