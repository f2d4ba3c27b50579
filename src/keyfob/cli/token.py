# SPDX-License-Identifier: Apache-2.0
"""``keyfob token``: get an access token as a device would, once, or fresh in a file."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer

from keyfob.cli.asking_options import (
    Audience,
    Ca,
    ClientId,
    Issuer,
    PrivateKey,
    ProfileName,
    Resource,
    Scope,
    Username,
    check_who_asks,
)
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import Installation, settings_of
from keyfob.cli.output import Exit, Json, answer, finish
from keyfob.cli.profile_sources import profile_source
from keyfob.cli.profiles import read_profile
from keyfob.cli.token_asking import (
    CLIENT_SECRET,
    DEVICE_SECRET,
    Asking,
    ask_once,
    secret_of,
    stay,
)
from keyfob.cli.token_file import TokenFile, mosquitto, plain
from keyfob.device import TokenSource
from keyfob.errors import UpstreamError

__all__ = ["own_server", "token"]


def token(
    client_id: ClientId = "",
    profile: ProfileName = "",
    username: Username = "",
    scope: Scope = "",
    watch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep a fresh token in this file, and stay.")
    ] = None,
    form: Annotated[
        Literal["token", "mosquitto"],
        typer.Option(help="What --watch writes: the token, or options for mosquitto_pub."),
    ] = "token",
    issuer: Issuer = "",
    ca: Ca = None,
    audience: Audience = "",
    resource: Resource = "",
    private_key: PrivateKey = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Get a token and print it, or keep a fresh one in a file.

    Without --issuer the installation's own server is asked.

    On the command line others could read a secret, so the device's comes from the environment
    (KEYFOB_CLIENT_SECRET), or from standard input, or is asked for. With --username it is the
    password grant: the device's secret is KEYFOB_PASSWORD, the application's, if it has one,
    KEYFOB_CLIENT_SECRET.
    """
    elsewhere = bool(issuer or ca or audience or resource or private_key)
    check_who_asks(client_id, profile, elsewhere, username, scope)
    if not (profile or elsewhere or watch):
        _ask_own_server(settings_of(directory), client_id, username, scope, as_json=as_json)
        return
    make: Callable[[], TokenSource] = partial(profile_source, profile)
    if not profile:
        if not issuer:
            issuer, ca = own_server(settings_of(directory), ca)
        make = Asking(
            issuer=issuer,
            ca=ca,
            client_id=client_id,
            username=username,
            scope=scope,
            audience=audience,
            resource=resource,
            private_key=private_key,
        ).source
    if watch is None:
        ask_once(make, as_json=as_json)
    elif form == "token":
        stay(make, TokenFile(watch, plain), as_json=as_json)
    else:
        name = username or client_id or read_profile(profile).device_name or profile
        stay(make, TokenFile(watch, mosquitto(name)), as_json=as_json)


def own_server(installation: Installation, ca: Path | None) -> tuple[str, Path | None]:
    """Return the installation's issuer, and what to trust it by."""
    own = installation.directory / "ca.pem"
    return installation.settings.server.issuer, ca or (own if own.exists() else None)


def _ask_own_server(
    installation: Installation, client_id: str, username: str, scope: str, *, as_json: bool
) -> None:
    """Ask as curl would, and show the whole answer, whatever the server put into it."""
    form = {"client_id": client_id, "grant_type": "client_credentials"}
    if username:
        form |= {"grant_type": "password", "username": username}
        form["password"] = secret_of(DEVICE_SECRET, username)
        if secret := os.environ.get(CLIENT_SECRET):
            form["client_secret"] = secret
    else:
        form["client_secret"] = secret_of(CLIENT_SECRET, client_id)
    if scope:
        form["scope"] = scope
    status, data = _post(installation, form)
    if status != 200:
        description = data.get("error_description", "")
        answer(data, f"refused: {description} ({data.get('error')})", as_json=as_json)
        finish(Exit.REFUSED)
    answer(data, str(data["access_token"]), as_json=as_json)


def _post(installation: Installation, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    context = ssl.create_default_context()
    own = installation.directory / "ca.pem"
    if own.exists():
        context.load_verify_locations(own)
    url = f"{installation.settings.server.issuer.rstrip('/')}/oauth2/token"
    try:
        response = httpx.post(url, data=form, verify=context, trust_env=False)
        data = response.json()
    except httpx.HTTPError as error:
        raise UpstreamError(f"{url}: {error}; is `keyfob up` running?") from error
    except ValueError as error:
        raise UpstreamError(f"{url} did not answer with JSON", code="upstream_invalid") from error
    if not isinstance(data, dict) or response.status_code >= 500:
        raise UpstreamError(f"{url} answered with status {response.status_code}")
    return response.status_code, data
