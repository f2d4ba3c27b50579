# SPDX-License-Identifier: Apache-2.0
"""``keyfob device``: the register of devices."""

from __future__ import annotations

import datetime
from typing import Annotated

import typer

from keyfob.cli.certificate_options import (
    Bound,
    Certificate,
    CertificateBound,
    CertificateName,
    certificate_data,
    certificate_identity,
)
from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory
from keyfob.cli.key_files import Jwks, JwksArgument, RemoveSecret, read_jwks
from keyfob.cli.output import Json, answer, fields, table
from keyfob.cli.selecting import (
    Group,
    Label,
    Labels,
    Names,
    OneOrMany,
    SecretsOut,
    answer_many,
    chosen_of,
    counting,
    seconds_of,
    selected,
)
from keyfob.cli.target import option_of, register_of
from keyfob.cli.token_options import Dpop, Opaque, ProofKey, shown_tokens, token_metadata
from keyfob.errors import ConfigError
from keyfob.server.devices import Device, IssuedSecret
from keyfob.server.fleet import EVERY_DEVICE
from keyfob.server.labels import parse_labels
from keyfob.server.private_file import PrivateFile

__all__ = ["app"]

app = typer.Typer(
    help="Register devices, disable them, change their secrets.", no_args_is_help=True
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The device's identifier.")]


@app.command()
def add(
    identifier: Identifier,
    publish: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILTER", help="It may publish here; {device} is its ID. May be repeated."
        ),
    ] = None,
    subscribe: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER", help="It may subscribe here; likewise."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="A scope of your own, for policy tables."),
    ] = None,
    lifetime: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="How long its tokens live, if not as all others'."),
    ] = None,
    jwks: Jwks = None,
    certificate: Certificate = None,
    certificate_name: CertificateName = None,
    certificate_bound: CertificateBound = False,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="A group that it is in. May be repeated."),
    ] = None,
    label: Labels = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="It gets no token before `keyfob device enable`.")
    ] = False,
    opaque: Opaque = None,
    dpop: Dpop = False,
    proof_key: ProofKey = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Register a device; its secret is shown this once.

    Its tokens always allow to connect; without --publish, --subscribe or --scope nothing else.
    With --jwks, --certificate or --certificate-name it has no secret.
    """
    identity = certificate_identity(certificate, certificate_name)
    metadata = token_metadata(opaque=opaque, dpop=dpop, proof_key=proof_key)
    if jwks is not None or identity is not None:
        keys = None if jwks is None else read_jwks(jwks)
        with register_of(directory) as register:
            device = register.add_device_with_keys(
                identifier,
                jwks=keys,
                certificate=identity,
                certificate_bound=certificate_bound,
                publish=publish or (),
                subscribe=subscribe or (),
                scopes=scope or (),
                lifetime=lifetime,
                groups=group or (),
                labels=parse_labels(label or ()),
                pending=pending,
                metadata=metadata,
            )
        _answer_keys(device, as_json=as_json)
        return
    with register_of(directory) as register:
        issued = register.add_device(
            identifier,
            publish=publish or (),
            subscribe=subscribe or (),
            scopes=scope or (),
            lifetime=lifetime,
            certificate_bound=certificate_bound,
            groups=group or (),
            labels=parse_labels(label or ()),
            pending=pending,
            metadata=metadata,
        )
    _answer_secret(issued, as_json=as_json)


@app.command("list")
def list_(
    group: Group = "",
    label: Label = "",
    state: Annotated[
        str, typer.Option(metavar="STATE", help="Only these: pending, active or disabled.")
    ] = "",
    after: Annotated[
        str, typer.Option(metavar="ID", help="Begin behind this one: the next page.")
    ] = "",
    limit: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="At most so many.")
    ] = 100,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """List the devices by name, page by page."""
    selection = selected(group, label, state)
    with register_of(directory) as register:
        devices = register.list_devices(selection, after=after, limit=limit)
    rows = [
        (
            device.id,
            device.state,
            _time(device.created_at) or "",
            _time(device.last_token_at) or "never",
        )
        for device in devices
    ]
    text = table(("ID", "STATE", "REGISTERED", "LAST TOKEN"), rows)
    if len(rows) == limit:
        text += f"\nmore may follow: --after {devices[-1].id}"
    if not rows and (after or selection != EVERY_DEVICE):
        text = "no such devices"
    elif not rows:
        text = f"no devices; `keyfob device add ID{option_of(directory)}` registers one"
    answer([_data(device) for device in devices], text, as_json=as_json)


@app.command()
def show(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Show one device and what its tokens allow."""
    with register_of(directory) as register:
        device = register.show_device(identifier)
        data = {**_data(device), "token_scope": " ".join(register.fleet.rights(identifier))}
    shown = {
        **data,
        "groups": " ".join(device.groups) or None,
        "labels": " ".join(f"{key}={value}" for key, value in device.labels.items()) or None,
        "lifetime": data["lifetime"] or "its groups' or the server's",
        "tokens": data["tokens"] or "the server's",
        "last_token_at": data["last_token_at"] or "never",
    }
    answer(data, fields(shown), as_json=as_json)


@app.command("set")
def set_(
    identifier: Identifier,
    group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="Put it into this group.")
    ] = None,
    no_group: Annotated[
        list[str] | None, typer.Option(metavar="GROUP", help="Take it out of this group.")
    ] = None,
    label: Labels = None,
    no_label: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Take this label away.")
    ] = None,
    lifetime: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="How long its tokens live; 0: as all others'."),
    ] = None,
    publish: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER", help="It may publish here; {device} is its ID."),
    ] = None,
    subscribe: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER", help="It may subscribe here; likewise."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="A scope of your own, for policy tables."),
    ] = None,
    no_rights: Annotated[
        bool, typer.Option("--no-rights", help="It has no right of its own but to connect.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Change its groups, labels, rights, its tokens' lifetime.

    It counts from its next token on. Options may be repeated. --publish, --subscribe and --scope
    together are all the rights of its own from then on; without any of them they stay.
    """
    rights = {"publish": publish or (), "subscribe": subscribe or (), "scopes": scope or ()}
    has_rights = any(rights.values())
    if has_rights and no_rights:
        raise ConfigError("--no-rights goes with no other right")
    with register_of(directory) as register:
        device = register.change_device(
            identifier,
            into=group or (),
            out_of=no_group or (),
            labels=parse_labels(label or ()),
            unlabel=no_label or (),
            lifetime=lifetime,
            rights=rights if has_rights or no_rights else None,
        )
    answer(_data(device), f"{identifier} is changed", as_json=as_json)


@app.command()
def disable(
    identifier: OneOrMany = None,
    group: Group = "",
    label: Label = "",
    file: Names = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Give it no new token, and end its session now.

    Or do this to many: a group, those with a label, or those that a file names.
    """
    chosen = chosen_of(identifier, group, label, file)
    if identifier is None:
        with register_of(directory) as register, counting("disabled") as counted:
            many = register.fleet.disable(chosen, on_progress=counted)
        answer_many(many, "disabled", as_json=as_json)
        return
    with register_of(directory) as register:
        device = register.disable_device(identifier)
    text = f"{identifier} is disabled: no new token, and its session ends now"
    answer(_data(device), text, as_json=as_json)


@app.command()
def enable(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Let it have new tokens; old ones stay revoked."""
    with register_of(directory) as register:
        device = register.enable_device(identifier)
    answer(_data(device), f"{identifier} is enabled", as_json=as_json)


@app.command("revoke-tokens")
def revoke_tokens(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """End its tokens and its session now; it may get new ones."""
    with register_of(directory) as register:
        register.revoke_device_tokens(identifier)
    data = {"client_id": identifier, "tokens_revoked": True}
    answer(data, f"the tokens of {identifier} are revoked", as_json=as_json)


@app.command()
def remove(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Remove a device, and end its session now."""
    with register_of(directory) as register:
        register.remove_device(identifier)
    answer({"client_id": identifier, "removed": True}, f"{identifier} is removed", as_json=as_json)


@app.command("rotate-secret", hidden=True)  # what it was called before it was for many
@app.command()
def rotate(
    identifier: OneOrMany = None,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="The old secret works so long too, such as 7d.")
    ] = "0",
    until_used: Annotated[
        bool, typer.Option("--until-used", help="It ends earlier, once the new one was used.")
    ] = False,
    group: Group = "",
    label: Label = "",
    file: Names = None,
    secrets_out: SecretsOut = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Give it a new secret, shown this once.

    The old one and refresh tokens got with it stop working now, or after --overlap; access tokens
    end in their own time. Or do this to many: a group, those with a label, or those that a file
    names.
    """
    chosen = chosen_of(identifier, group, label, file)
    seconds = seconds_of(overlap)
    if until_used and not seconds:
        raise ConfigError("--until-used shortens an --overlap: say how long that is at most")
    if identifier is None:
        if secrets_out is None:
            raise ConfigError("say with --secrets-out into which file the new secrets go")
        with (
            register_of(directory) as register,
            PrivateFile(secrets_out) as secrets,
            counting("new secrets") as counted,
        ):
            many = register.fleet.rotate(
                chosen, secrets, overlap=seconds, until_used=until_used, on_progress=counted
            )
        answer_many(many, "given new secrets", as_json=as_json)
        return
    if secrets_out is not None:
        raise ConfigError("--secrets-out is for many devices; one device's secret is shown")
    with register_of(directory) as register:
        issued = register.rotate_secret(identifier, overlap=seconds, until_used=until_used)
    _answer_secret(issued, as_json=as_json)


@app.command("set-jwks")
def set_jwks(
    identifier: Identifier,
    file: JwksArgument,
    remove_secret: RemoveSecret = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Give it other keys; those before stop working now.

    To change keys without a gap, register a file with the old and the new one first.
    """
    keys = read_jwks(file)
    with register_of(directory) as register:
        device = register.set_device_jwks(identifier, keys, remove_secret=remove_secret)
    _answer_keys(device, as_json=as_json)


@app.command("set-certificate")
def set_certificate(
    identifier: Identifier,
    certificate: Certificate = None,
    certificate_name: CertificateName = None,
    bound: Bound = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="It has no certificate from now on.")
    ] = False,
    remove_secret: RemoveSecret = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Give it another certificate; the one before stops now.

    To change certificates without a gap, register a file with the old and the new one first.
    """
    identity = certificate_identity(certificate, certificate_name, remove=remove)
    with register_of(directory) as register:
        device = register.set_device_certificate(
            identifier, identity, bound=bound, remove_secret=remove_secret
        )
    _answer_keys(device, as_json=as_json)


@app.command("set-tokens")
def set_tokens(
    identifier: Identifier,
    opaque: Opaque = None,
    dpop: Dpop = False,
    proof_key: ProofKey = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Say anew what its next tokens are.

    Without any option, as the server's. Tokens that it has stay what they are.
    """
    wanted = token_metadata(opaque=opaque, dpop=dpop, proof_key=proof_key)
    with register_of(directory) as register:
        device = register.set_device_tokens(identifier, wanted)
    tokens = shown_tokens(device.metadata) or "the server's"
    answer(_data(device), f"{identifier}: its next tokens are {tokens}", as_json=as_json)


def _answer_keys(device: Device, *, as_json: bool) -> None:
    data: dict[str, object] = {
        "client_id": device.id,
        "authentication": _methods(device),
        **({"keys": _keys(device)} if device.keys else {}),
        **certificate_data(device.certificate, bound=device.certificate_bound),
        "scope": " ".join(device.scopes),
    }
    answer(data, fields(data), as_json=as_json)


def _methods(device: Device) -> str:
    ways = (
        ("client_secret", device.has_secret),
        ("private_key_jwt", bool(device.keys)),
        ("tls_client_auth", device.certificate.names),
        ("self_signed_tls_client_auth", bool(device.certificate.thumbprints)),
    )
    return " ".join(way for way, has in ways if has)


def _keys(device: Device) -> str:
    return " ".join(f"{key.kid}:{key.algorithm}" for key in device.keys)


def _answer_secret(issued: IssuedSecret, *, as_json: bool) -> None:
    data = {
        "client_id": issued.device.id,
        "client_secret": issued.secret,
        "scope": " ".join(issued.device.scopes),
    }
    answer(data, fields(data), as_json=as_json)


def _data(device: Device) -> dict[str, object]:
    return {
        "client_id": device.id,
        "state": device.state,
        "authentication": _methods(device),
        "keys": _keys(device) or None,
        **certificate_data(device.certificate, bound=device.certificate_bound),
        "scope": " ".join(device.scopes),
        "groups": list(device.groups),
        "labels": dict(device.labels),
        "lifetime": device.lifetime,
        "tokens": shown_tokens(device.metadata) or None,
        "created_at": _time(device.created_at),
        "last_token_at": _time(device.last_token_at),
    }


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
