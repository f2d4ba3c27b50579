# SPDX-License-Identifier: Apache-2.0
"""From settings to those of the authorization server."""

from __future__ import annotations

from typing import Final

import msgspec

from keyfob.cli.fronting import mutual_tls
from keyfob.cli.placing import placed, secret_at
from keyfob.cli.server_database import require_encryption, server_database
from keyfob.cli.server_grants import grant_settings
from keyfob.config import GrantLifetimesSection, LimitsSection, Settings
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.limits import LimitSettings
from keyfob.server.openid.settings import OpenIdSettings
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import Rotation

__all__ = ["own_template", "server_settings", "signing_settings"]

# What grants are called that have no word of their own (RFC 8628, 7523, 8693).
_GRANT_TYPES: Final = {
    name: f"urn:ietf:params:oauth:grant-type:{text}"
    for name, text in (
        ("device_code", "device_code"),
        ("jwt_bearer", "jwt-bearer"),
        ("token_exchange", "token-exchange"),
    )
}


def signing_settings(settings: Settings) -> SigningSettings:
    """Make how the authorization server's signing keys follow each other, and how they rest.

    Raises:
        ConfigError: The key that they are encrypted with is not there, or is none; the message
            says file and line.
    """
    server = settings.server
    require_encryption(settings)
    with placed(settings, "server"):
        text = secret_at(server.key_encryption, settings.directory, "key_encryption")
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


def own_template(settings: Settings) -> str:
    """Return what MQTT client identifiers are made of where the guard trusts this server."""
    own = [one for one in settings.issuers if one.issuer == settings.server.issuer]
    return own[0].client_id_template if own else "{device}"


def _grant_lifetimes(section: GrantLifetimesSection) -> dict[str, int]:
    seconds = msgspec.structs.asdict(section)
    return {_GRANT_TYPES.get(name, name): each for name, each in seconds.items() if each}


def _openid(settings: Settings) -> OpenIdSettings | None:
    section = settings.server.openid
    if not section.issuer:
        return None
    with placed(settings, "server.openid"):
        return OpenIdSettings(
            issuer=section.issuer,
            client_id=section.client_id,
            client_secret=secret_at(section.client_secret, settings.directory, "client_secret"),
            claim=section.claim,
            ca=section.ca,
        )


def _limits(section: LimitsSection) -> LimitSettings | None:
    numbers = msgspec.structs.asdict(section)
    enabled = numbers.pop("enabled")
    return LimitSettings(**numbers) if enabled else None
