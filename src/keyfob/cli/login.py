# SPDX-License-Identifier: Apache-2.0
"""``keyfob login``: somebody approves this device in a browser (RFC 8628), by a QR code or code."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from keyfob.cli.output import Json, answer
from keyfob.cli.profiles import Profile, check_name, read_profile, store_of, write_profile
from keyfob.cli.shown import time_of
from keyfob.cli.token_asking import no_word_of_a_next_try, refused
from keyfob.device import DeviceCode, Invitation, PublicClient, TokenSource
from keyfob.errors import ConfigError, TokenRequestError

__all__ = ["invitation_text", "login"]

_LONGEST_WAIT = 3600.0


def login(
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="Under which name to keep who this is.")
    ] = "default",
    issuer: Annotated[
        str, typer.Option(metavar="URL", help="The authorization server; else the profile's.")
    ] = "",
    client_id: Annotated[
        str, typer.Option(metavar="ID", help="This program, as it is registered there.")
    ] = "",
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Which device; else the approver says it.")
    ] = "",
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="Ask for no more than this, or these.")
    ] = "",
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates that alone are trusted.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Have somebody approve this device in a browser, and keep its token.

    Without --issuer it is the profile's again. `keyfob token --profile NAME` shows a good token
    from then on.
    """
    check_name(profile)
    if bool(issuer) != bool(client_id):
        raise ConfigError("--issuer and --client-id go together")
    if not issuer and (device or scope or ca):
        raise ConfigError("what a profile is changes with --issuer and --client-id only")
    if issuer:
        trusted = str(ca.absolute()) if ca else ""
        wanted = Profile(issuer=issuer, client_id=client_id, device=device, scope=scope, ca=trusted)
    else:
        wanted = read_profile(profile)
    source = TokenSource(
        wanted.issuer,
        auth=PublicClient(client_id=wanted.client_id),
        grant=DeviceCode(prompt=_show),
        scope=wanted.scope,
        parameters={"login_hint": wanted.device} if wanted.device else None,
        ca=wanted.ca or None,
    )
    try:
        with no_word_of_a_next_try():
            token = source.get(_LONGEST_WAIT)
    except TokenRequestError as error:
        refused(error, as_json=as_json)
    write_profile(profile, wanted)
    store_of(profile).save(token)
    until = time_of(token.expires_at)
    data = {
        "profile": profile,
        "scope": token.scope,
        "until": until,
        "renewable": token.refresh_token is not None,
    }
    renewed = "renewed from then on" if token.refresh_token else "then somebody has to log in again"
    answer(data, f"logged in as profile {profile} until {until}; {renewed}", as_json=as_json)


def _show(invitation: Invitation) -> None:
    # Standard output is for the answer; a person reads this.
    sys.stderr.write(invitation_text(invitation) + "\n")
    sys.stderr.flush()


def invitation_text(invitation: Invitation) -> str:
    """Return what a person is to do, with a QR code where there is a URL for one and ``segno``."""
    return (
        f"{_picture(invitation.verification_uri_complete)}"
        f"Open {invitation.verification_uri} and compare or type the code:"
        f"  {invitation.user_code}\n"
        f"within {invitation.expires_in / 60:.0f} minutes."
    )


def _picture(url: str) -> str:
    if not url or find_spec("segno") is None:  # an extra: keyfob[login]
        return ""
    import segno  # noqa: PLC0415 - see above

    drawn = io.StringIO()
    segno.make_qr(url, error="l").terminal(out=drawn, compact=True, border=2)
    return f"{drawn.getvalue()}\n"
