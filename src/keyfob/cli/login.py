# SPDX-License-Identifier: Apache-2.0
"""``keyfob login``: somebody approves this device in a browser (RFC 8628), by a QR code or code."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from keyfob.cli.broker_target import target_of
from keyfob.cli.output import Json, answer
from keyfob.cli.profile_sources import absolute_file, absolute_reference, source_of
from keyfob.cli.profiles import (
    GrantName,
    Profile,
    check_name,
    read_profile,
    store_of,
    write_profile,
)
from keyfob.cli.shown import time_of
from keyfob.cli.token_asking import no_word_of_a_next_try, refused
from keyfob.device import DeviceCode, Invitation
from keyfob.device.carrying import Carry
from keyfob.device.turns import in_turn
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
    grant: Annotated[
        GrantName | None,
        typer.Option(help="How a token is asked for; else somebody approves: device_code."),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE",
            help="Which device; else the approver says it. For the password grant: the username.",
        ),
    ] = "",
    client_secret: Annotated[
        str, typer.Option(metavar="REF", help="Its secret's place: file:PATH or env:NAME.")
    ] = "",
    password: Annotated[
        str, typer.Option(metavar="REF", help="The device's secret's place, for that grant.")
    ] = "",
    private_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Authenticate by this key (private_key_jwt), as PEM."),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Authenticate by this certificate and key (RFC 8705)."),
    ] = None,
    scope: Annotated[
        str, typer.Option(metavar="SCOPE", help="Ask for no more than this, or these.")
    ] = "",
    audience: Annotated[
        str, typer.Option(metavar="NAME", help="For servers that want an audience.")
    ] = "",
    resource: Annotated[
        str, typer.Option(metavar="URI", help="Which resource server it is for (RFC 8707).")
    ] = "",
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates that alone are trusted.")
    ] = None,
    broker: Annotated[
        str, typer.Option(metavar="URL", help="Where the token is shown: mqtts://HOST, wss://…")
    ] = "",
    carry: Annotated[
        str,
        typer.Option(metavar="HOW", help="password (the default), username, header, auth:METHOD."),
    ] = "",
    username: Annotated[
        str, typer.Option(metavar="NAME", help="MQTT's username, beside the token.")
    ] = "",
    client_identifier: Annotated[
        str, typer.Option(metavar="ID", help="MQTT's client identifier; else the device.")
    ] = "",
    broker_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates to trust the broker by.")
    ] = None,
    broker_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A certificate to show the broker.")
    ] = None,
    broker_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key, where that is another file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Have somebody approve this device in a browser, and keep its token.

    Without --issuer it is the profile's again. `keyfob token --profile NAME` shows a good token
    from then on. With another --grant nobody has to approve; no secret is kept in a profile, only
    where it is.
    """
    check_name(profile)
    given = Profile(
        issuer=issuer,
        client_id=client_id,
        grant=grant or "device_code",
        device=device,
        scope=scope,
        audience=audience,
        resource=resource,
        ca=absolute_file(ca),
        client_secret=absolute_reference(client_secret),
        password=absolute_reference(password),
        private_key=absolute_file(private_key),
        certificate=absolute_file(certificate),
        broker=broker,
        carry=carry,
        username=username,
        client_identifier=client_identifier,
        broker_ca=absolute_file(broker_ca),
        broker_certificate=absolute_file(broker_certificate),
        broker_key=absolute_file(broker_key),
    )
    wanted = _wanted(profile, given)
    source = source_of(wanted, store=None, prompt=DeviceCode(prompt=_show))
    try:
        with no_word_of_a_next_try():
            token = source.get(_LONGEST_WAIT)
    except TokenRequestError as error:
        refused(error, as_json=as_json)
    write_profile(profile, wanted)
    store = store_of(profile)
    with in_turn(store.turn()):  # or a renewal under way would replace it by the old one's next
        store.save(token)
    until = time_of(token.expires_at)
    alone = token.refresh_token is not None or wanted.grant != "device_code"
    data = {
        "profile": profile,
        "scope": token.scope,
        "until": until,
        "renewable": alone,
    }
    renewed = "renewed from then on" if alone else "then somebody has to log in again"
    answer(data, f"logged in as profile {profile} until {until}; {renewed}", as_json=as_json)


def _wanted(name: str, given: Profile) -> Profile:
    """Return the profile that is meant: what was given, or what is kept."""
    if bool(given.issuer) != bool(given.client_id):
        raise ConfigError("--issuer and --client-id go together")
    if not given.issuer:
        if given != Profile(issuer="", client_id=""):
            raise ConfigError("what a profile is changes with --issuer and --client-id only")
        return read_profile(name)
    if given.broker:
        target_of(given)
    if given.carry:
        Carry.parse(given.carry)
    return given


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
