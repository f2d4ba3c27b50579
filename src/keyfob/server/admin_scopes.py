# SPDX-License-Identifier: Apache-2.0
"""Where the admin API is, and its scopes: for each resource one to read it and one to change it.

Neither holds the other, and each is the least that an operator's program needs for one thing.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ADMIN_PATH",
    "ADMIN_SCOPES",
    "APPLICATIONS_READ",
    "APPLICATIONS_WRITE",
    "AUDIT_READ",
    "DEVICES_READ",
    "DEVICES_WRITE",
    "GRANTS_READ",
    "GRANTS_WRITE",
    "KEYS_READ",
    "KEYS_WRITE",
    "OPERATORS_READ",
    "OPERATORS_WRITE",
    "RECEIVERS_READ",
    "RECEIVERS_WRITE",
    "REGISTRATION_READ",
    "REGISTRATION_WRITE",
    "SERVICES_READ",
    "SERVICES_WRITE",
]

ADMIN_PATH: Final = "/admin/v1"
"""Below the issuer; the URL is the audience of the tokens."""

DEVICES_READ: Final = "keyfob.admin.devices:read"
DEVICES_WRITE: Final = "keyfob.admin.devices:write"
APPLICATIONS_READ: Final = "keyfob.admin.applications:read"
APPLICATIONS_WRITE: Final = "keyfob.admin.applications:write"
SERVICES_READ: Final = "keyfob.admin.services:read"
SERVICES_WRITE: Final = "keyfob.admin.services:write"
KEYS_READ: Final = "keyfob.admin.keys:read"
KEYS_WRITE: Final = "keyfob.admin.keys:write"
REGISTRATION_READ: Final = "keyfob.admin.registration:read"
REGISTRATION_WRITE: Final = "keyfob.admin.registration:write"
GRANTS_READ: Final = "keyfob.admin.grants:read"
GRANTS_WRITE: Final = "keyfob.admin.grants:write"
OPERATORS_READ: Final = "keyfob.admin.operators:read"
OPERATORS_WRITE: Final = "keyfob.admin.operators:write"
RECEIVERS_READ: Final = "keyfob.admin.receivers:read"
RECEIVERS_WRITE: Final = "keyfob.admin.receivers:write"
AUDIT_READ: Final = "keyfob.admin.audit:read"

ADMIN_SCOPES: Final = (
    *(DEVICES_READ, DEVICES_WRITE, APPLICATIONS_READ, APPLICATIONS_WRITE),
    *(SERVICES_READ, SERVICES_WRITE, KEYS_READ, KEYS_WRITE),
    *(REGISTRATION_READ, REGISTRATION_WRITE, GRANTS_READ, GRANTS_WRITE),
    *(OPERATORS_READ, OPERATORS_WRITE, RECEIVERS_READ, RECEIVERS_WRITE, AUDIT_READ),
)
