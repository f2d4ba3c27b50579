# SPDX-License-Identifier: Apache-2.0
"""``keyfob token``: get an access token as a device would, with curl or without."""

from __future__ import annotations

import getpass
import os
import ssl
import sys
from typing import Annotated, Any

import httpx
import typer

from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, Installation, settings_of
from keyfob.cli.output import Exit, Json, answer, finish
from keyfob.errors import ConfigError, UpstreamError

__all__ = ["token"]

CLIENT_SECRET = "KEYFOB_CLIENT_SECRET"  # noqa: S105 - a variable's name
DEVICE_SECRET = "KEYFOB_PASSWORD"  # noqa: S105 - a variable's name


def token(
    client_id: Annotated[str, typer.Option(metavar="ID", help="The device, or the application.")],
    username: Annotated[
        str, typer.Option(metavar="DEVICE", help="The device, where --client-id is an application.")
    ] = "",
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="Ask for no more than this, or these.")
    ] = "",
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Get a token from the installation's server and print it.

    On the command line others could read a secret, so the device's comes from the environment
    (KEYFOB_CLIENT_SECRET), or from standard input, or is asked for. With --username it is the
    password grant: the device's secret is KEYFOB_PASSWORD, the application's, if it has one,
    KEYFOB_CLIENT_SECRET.
    """
    installation = settings_of(directory)
    form = {"client_id": client_id, "grant_type": "client_credentials"}
    if username:
        form |= {"grant_type": "password", "username": username}
        form["password"] = _secret(DEVICE_SECRET, username)
        if secret := os.environ.get(CLIENT_SECRET):
            form["client_secret"] = secret
    else:
        form["client_secret"] = _secret(CLIENT_SECRET, client_id)
    if scope:
        form["scope"] = scope
    status, data = _post(installation, form)
    if status != 200:
        description = data.get("error_description", "")
        answer(data, f"refused: {description} ({data.get('error')})", as_json=as_json)
        finish(Exit.REFUSED)
    answer(data, str(data["access_token"]), as_json=as_json)


def _secret(variable: str, owner: str) -> str:
    """Return a secret from the environment, a pipe, or the person who sits there."""
    secret = os.environ.get(variable, "")
    if not secret and sys.stdin.isatty():
        secret = getpass.getpass(f"secret of {owner}: ")
    elif not secret:
        secret = sys.stdin.readline().strip()
    if not secret:
        raise ConfigError(f"no secret of {owner}: set {variable}, or pipe it in")
    return secret


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
