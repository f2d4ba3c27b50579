# SPDX-License-Identifier: Apache-2.0
"""``keyfob doctor``: what is wrong on a device's way to its token and its broker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final, NoReturn

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
from keyfob.cli.broker_target import BrokerTarget, BrokerTls, parse_broker, target_of
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.doctor.examination import examine
from keyfob.cli.doctor.issuer_checks import DEVICE_CODE, ClientKind
from keyfob.cli.doctor.subject import BrokerWish, Subject
from keyfob.cli.doctor.telling import as_data, as_text
from keyfob.cli.findings import exit_code
from keyfob.cli.installation import settings_of
from keyfob.cli.output import Json, answer, finish
from keyfob.cli.profile_sources import file_of, profile_source
from keyfob.cli.profiles import Profile, read_profile
from keyfob.cli.token import own_server
from keyfob.cli.token_asking import Asking
from keyfob.device.carrying import Carry
from keyfob.device.clock import system_clock
from keyfob.errors import ConfigError, NotFoundError
from keyfob.mqtt.topics import TopicName

__all__ = ["doctor"]

_GRANTS: Final = {"device_code": DEVICE_CODE}


def doctor(
    client_id: ClientId = "",
    profile: ProfileName = "",
    username: Username = "",
    scope: Scope = "",
    issuer: Issuer = "",
    ca: Ca = None,
    audience: Audience = "",
    resource: Resource = "",
    private_key: PrivateKey = None,
    broker: Annotated[
        str, typer.Option(metavar="URL", help="The broker: mqtts://HOST, wss://HOST/PATH, …")
    ] = "",
    broker_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificates to trust the broker by; else --ca's."),
    ] = None,
    carry: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="How this device carries its token: password, username, header, auth:METHOD.",
        ),
    ] = "",
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Try this authentication method, too; may be repeated."),
    ] = None,
    client_identifier: Annotated[
        str,
        typer.Option(
            metavar="ID", help="Connect under this one; without it the broker assigns one."
        ),
    ] = "",
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="Connect under the device's own identifier: a connection of it is ended.",
        ),
    ] = False,
    publish: Annotated[
        str, typer.Option(metavar="TOPIC", help="Publish a message there, to see whether it may.")
    ] = "",
    timeout: Annotated[
        float, typer.Option(min=0.1, max=600.0, metavar="SECONDS", help="Wait for each answer.")
    ] = 10.0,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Say what is wrong with a device's token, authorization server and broker.

    Gets a token as the device would, and tries what the broker takes, refuses and enforces, with
    connections of its own. Exits with 1 where something is wrong. As with keyfob token, a secret
    comes from the environment or standard input.
    """
    elsewhere = (issuer, ca, audience, resource, private_key, username, scope)
    check_who_asks(client_id, profile, *elsewhere)
    target: BrokerTarget | None = None
    usual = ""
    if profile:
        found = read_profile(profile)
        subject = _of_profile(profile, found)
        target, usual = target_of(found) if found.broker else None, found.carry
    else:
        if not issuer:
            issuer, ca = own_server(settings_of(directory), ca)
            broker = broker or _own_broker(directory)
        asking = Asking(
            issuer=issuer,
            ca=ca,
            client_id=client_id,
            username=username,
            scope=scope,
            audience=audience,
            resource=resource,
            private_key=private_key,
        )
        subject = _of_options(asking)
    if broker:
        target = _at(broker, broker_ca, subject.ca, target)
    elif broker_ca:
        raise ConfigError("--broker-ca goes with --broker; a profile says its own")
    if target is None and (carry or method or client_identifier or take_over or publish):
        raise ConfigError("which broker? Name it with --broker, or in the profile")
    wish = None
    if target is not None:
        wish = BrokerWish(
            target=target,
            carry=_carry(carry or usual),
            identifier=client_identifier,
            take_over=take_over,
            methods=tuple(method or ()),
            publish=str(TopicName.parse(publish)) if publish else "",
            patience=timeout,
        )
    _tell(subject, wish, as_json=as_json)


def _tell(subject: Subject, wish: BrokerWish | None, *, as_json: bool) -> NoReturn:
    report = examine(subject, wish, system_clock())
    titles = {"issuer": subject.client.issuer, "broker": str(wish.target.address) if wish else ""}
    answer(as_data(report, titles), as_text(report, titles), as_json=as_json)
    finish(exit_code(report.findings))


def _at(
    url: str, broker_ca: Path | None, ca: Path | None, usual: BrokerTarget | None
) -> BrokerTarget:
    """Return the broker at a URL; what a profile says about its own counts there, too."""
    address = parse_broker(url)
    if usual is None:
        return BrokerTarget(address=address, tls=BrokerTls(ca=broker_ca or ca))
    tls = replace(usual.tls, ca=broker_ca) if broker_ca else usual.tls
    return replace(usual, address=address, tls=tls)


def _carry(text: str) -> str:
    if text:
        Carry.parse(text)
    return text


def _own_broker(directory: Path) -> str:
    """Return where the installation's own broker is."""
    installation = settings_of(directory)
    return f"mqtts://{installation.name}:{installation.settings.mosquitto.port}"


def _of_options(asking: Asking) -> Subject:
    asked = asking.asked()
    return Subject(
        client=ClientKind(
            issuer=asking.issuer,
            grant_type=asked.grant_type,
            authentication=(asked.authentication,),
        ),
        ca=asking.ca,
        source=asked.source,
        names=tuple(filter(None, (asking.username or asking.client_id,))),
    )


def _of_profile(name: str, profile: Profile) -> Subject:
    source, why = None, ""
    try:
        source = profile_source(name)
    except NotFoundError as error:  # nobody is logged in: the rest can be looked at all the same
        why = error.message
    return Subject(
        client=ClientKind(
            issuer=profile.issuer,
            grant_type=_GRANTS.get(profile.grant, profile.grant),
            authentication=_authentication(profile),
            mutual_tls=bool(profile.certificate),
        ),
        ca=file_of(profile.ca),
        certificate=file_of(profile.certificate),
        source=source,
        why=why,
        names=tuple(filter(None, (profile.device_name,))),
    )


def _authentication(profile: Profile) -> tuple[str, ...]:
    if profile.private_key:
        return ("private_key_jwt",)
    if profile.certificate:
        return ("tls_client_auth", "self_signed_tls_client_auth")
    return ("client_secret_basic",) if profile.client_secret else ("none",)
