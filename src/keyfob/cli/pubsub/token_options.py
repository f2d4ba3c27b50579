# SPDX-License-Identifier: Apache-2.0
"""Whose token is shown: options of ``keyfob pub`` and ``keyfob sub``, and what they mean."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import settings_of
from keyfob.cli.profile_sources import (
    absolute_file,
    absolute_reference,
    profile_source,
    source_of,
)
from keyfob.cli.profiles import Profile, read_profile
from keyfob.cli.pubsub.token_in_file import TokenInFile
from keyfob.cli.token_asking import CLIENT_SECRET, DEVICE_SECRET
from keyfob.device import DeviceCode
from keyfob.device.tokens import Tokens
from keyfob.errors import ConfigError, NotFoundError

__all__ = ["TokenOptions", "token_of"]

DEFAULT_PROFILE: Final = "default"


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """Who asks whom for a token, as ``keyfob token`` has it."""

    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="As this profile; `default`, where nothing else says who."
        ),
    ] = ""
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="It stands here; keyfob token --watch keeps it fresh."),
    ] = None
    client_id: Annotated[
        str, typer.Option(metavar="ID", help="The device, or the application.")
    ] = ""
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="The device, where --client-id is an application.")
    ] = ""
    client_secret: Annotated[
        str,
        typer.Option(metavar="REF", help="file:PATH or env:NAME; else env:KEYFOB_CLIENT_SECRET."),
    ] = ""
    device_password: Annotated[
        str, typer.Option(metavar="REF", help="The device's own; else env:KEYFOB_PASSWORD.")
    ] = ""
    private_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Authenticate by this key (private_key_jwt), as PEM."),
    ] = None
    issuer: Annotated[
        str, typer.Option(metavar="URL", help="Ask this authorization server, whoever made it.")
    ] = ""
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificates that alone are trusted, of that server."),
    ] = None
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="Ask for no more than this, or these.")
    ] = ""
    audience: Annotated[
        str, typer.Option(metavar="NAME", help="For servers that want an audience.")
    ] = ""
    resource: Annotated[
        str, typer.Option(metavar="URI", help="Which resource server it is for (RFC 8707).")
    ] = ""
    directory: Directory = DEFAULT_DIRECTORY


def token_of(options: TokenOptions) -> tuple[Profile, Tokens]:
    """Return who is meant, and what gets the tokens.

    Raises:
        ConfigError: It is not said who, or it does not fit together.
        NotFoundError: There is no such profile, or nobody has logged in.
    """
    said = (
        *(options.device, options.client_secret, options.device_password, options.private_key),
        *(options.issuer, options.ca, options.scope, options.audience, options.resource),
    )
    if options.token_file is not None:
        if options.client_id or any(said):
            raise ConfigError("--token-file has the token already: only --profile goes with it")
        broker = read_profile(options.profile) if options.profile else None
        return broker or Profile(issuer="", client_id=""), TokenInFile(options.token_file)
    if options.client_id:
        if options.profile:
            raise ConfigError("one of --profile and --client-id says who asks")
        profile = _typed(options)
        nobody = DeviceCode(prompt=lambda _: None)  # it is another grant
        return profile, source_of(profile, store=None, prompt=nobody)
    if any(said):
        raise ConfigError("a profile says everything about its token: give --client-id instead")
    name = options.profile or DEFAULT_PROFILE
    try:
        return read_profile(name), profile_source(name)
    except NotFoundError as error:
        if options.profile:
            raise
        raise NotFoundError(f"{error.message}; or say --client-id DEVICE") from None


def _typed(options: TokenOptions) -> Profile:
    issuer, ca, broker, broker_ca = options.issuer, absolute_file(options.ca), "", ""
    if not issuer:
        issuer, own, broker = _own(options.directory)
        ca, broker_ca = ca or own, own
    secret = absolute_reference(options.client_secret)
    if not (secret or options.private_key) and (
        not options.device or os.environ.get(CLIENT_SECRET)
    ):
        secret = f"env:{CLIENT_SECRET}"
    password = absolute_reference(options.device_password)
    if options.device and not password:
        password = f"env:{DEVICE_SECRET}"
    return Profile(
        issuer=issuer,
        client_id=options.client_id,
        grant="password" if options.device else "client_credentials",
        device=options.device,
        scope=options.scope,
        audience=options.audience,
        resource=options.resource,
        ca=ca,
        client_secret=secret,
        password=password,
        private_key=absolute_file(options.private_key),
        broker=broker,
        broker_ca=broker_ca,
    )


def _own(directory: Path) -> tuple[str, str, str]:
    """Return the issuer of the installation here, its certificates, and where its broker is."""
    installation = settings_of(directory)
    own = installation.directory / "ca.pem"
    broker = f"mqtts://{installation.name}:{installation.settings.mosquitto.port}"
    return installation.settings.server.issuer, str(own) if own.exists() else "", broker
