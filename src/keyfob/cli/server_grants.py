# SPDX-License-Identifier: Apache-2.0
"""From ``[server]`` to what its grants need: resources and trusted issuers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.config import Settings
from keyfob.config.urls import url_fault
from keyfob.errors import ConfigError
from keyfob.server.admin_scopes import ADMIN_PATH
from keyfob.server.resources import Resources
from keyfob.server.trusted_issuers.keys import FileKeys
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer

__all__ = ["grant_settings"]


def grant_settings(settings: Settings) -> dict[str, Any]:
    """Return the arguments of ``ServerSettings`` that are about grants.

    Raises:
        ConfigError: One is not what it has to be; the message says file and line.
    """
    return {
        "resources": _resources(settings),
        "trusted_issuers": tuple(
            _trusted_issuer(settings, place) for place in range(len(settings.server.trusted_issuer))
        ),
    }


def _resources(settings: Settings) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for place, one in enumerate(settings.server.resource):
        key = f"server.resource.{place}.uri"
        if one.uri in found:
            raise settings.wrong(key, "stands twice; write another, or leave one out")
        try:
            Resources(settings.server.audience, {one.uri: one.audience})
        except ConfigError as error:
            raise settings.wrong(
                key, f"{error.message}; write as in https://broker.example/"
            ) from error
        if one.audience == settings.server.issuer.rstrip("/") + ADMIN_PATH:
            raise settings.wrong(
                f"server.resource.{place}.audience", "is the admin API's; write another"
            )
        found[one.uri] = one.audience
    return found


def _trusted_issuer(settings: Settings, place: int) -> TrustedAssertionIssuer:
    section = settings.server.trusted_issuer[place]
    at = f"server.trusted_issuer.{place}"
    if section.jwks_uri and (fault := url_fault(section.jwks_uri)):
        raise settings.wrong(f"{at}.jwks_uri", fault)
    if section.issuer == settings.server.issuer:
        raise settings.wrong(f"{at}.issuer", "is this server itself; write another's")
    if section.issuer in [one.issuer for one in settings.server.trusted_issuer[:place]]:
        raise settings.wrong(f"{at}.issuer", "stands twice; join the sections")
    try:
        made = TrustedAssertionIssuer(**msgspec.structs.asdict(section))
        if made.jwks_file is not None:
            FileKeys(made.jwks_file)
    except ConfigError as error:
        key = f"{at}.{error.key}" if error.key else at
        message = error.message.removeprefix(f"issuer {section.name}: ")
        raise settings.wrong(key, message.removeprefix(f"{error.key}: ")) from error
    return made
