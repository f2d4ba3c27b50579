# SPDX-License-Identifier: Apache-2.0
"""``keyfob device``: the register of devices."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfob.cli.certificate_options import (
    Bound,
    Certificate,
    CertificateBound,
    CertificateName,
    certificate_identity,
)
from keyfob.cli.device_shown import answer_issued, answer_keys, device_data, device_time
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.fleet import export, import_
from keyfob.cli.key_files import Jwks, JwksArgument, RemoveSecret, read_jwks
from keyfob.cli.listing import After, Limit, page
from keyfob.cli.output import Json, answer, fields
from keyfob.cli.right_options import (
    Lifetime,
    Pending,
    Publish,
    Scope,
    Subscribe,
    rights_of,
)
from keyfob.cli.selecting import (
    Group,
    InState,
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
from keyfob.server.fleet import EVERY_DEVICE
from keyfob.server.labels import parse_labels
from keyfob.server.private_file import PrivateFile
from keyfob.server.wishes import ChangeWish, DeviceWish

__all__ = ["app"]

app = typer.Typer(
    help="Register devices, disable them, change their secrets.", no_args_is_help=True
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The device's identifier.")]


@app.command()
def add(
    identifier: Identifier,
    publish: Publish = None,
    subscribe: Subscribe = None,
    scope: Scope = None,
    lifetime: Lifetime = None,
    jwks: Jwks = None,
    certificate: Certificate = None,
    certificate_name: CertificateName = None,
    certificate_bound: CertificateBound = False,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="A group that it is in. May be repeated."),
    ] = None,
    label: Labels = None,
    pending: Pending = False,
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
    wish = DeviceWish(
        identifier,
        rights=rights_of(publish, subscribe, scope),
        lifetime=lifetime,
        jwks=None if jwks is None else read_jwks(jwks),
        certificate=certificate_identity(certificate, certificate_name),
        certificate_bound=certificate_bound,
        groups=tuple(group or ()),
        labels=parse_labels(label or ()),
        pending=pending,
        metadata=token_metadata(opaque=opaque, dpop=dpop, proof_key=proof_key),
    )
    with register_of(directory) as register:
        issued = register.add_device(wish)
    answer_issued(issued, as_json=as_json)


@app.command("list")
def list_(
    group: Group = "",
    label: Label = "",
    state: InState = "",
    after: After = "",
    limit: Limit = 100,
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
            device_time(device.created_at) or "",
            device_time(device.last_token_at) or "never",
        )
        for device in devices
    ]
    none = "no such devices"
    if not after and selection == EVERY_DEVICE:
        none = f"no devices; `keyfob device add ID{option_of(directory)}` registers one"
    text = page(("ID", "STATE", "REGISTERED", "LAST TOKEN"), rows, limit=limit, none=none)
    answer([device_data(device) for device in devices], text, as_json=as_json)


@app.command()
def show(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Show one device and what its tokens allow."""
    with register_of(directory) as register:
        device = register.show_device(identifier)
        data = {**device_data(device), "token_scope": " ".join(register.fleet.rights(identifier))}
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
    publish: Publish = None,
    subscribe: Subscribe = None,
    scope: Scope = None,
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
    rights = rights_of(publish, subscribe, scope)
    if rights and no_rights:
        raise ConfigError("--no-rights goes with no other right")
    change = ChangeWish(
        into=tuple(group or ()),
        out_of=tuple(no_group or ()),
        labels=parse_labels(label or ()),
        unlabel=tuple(no_label or ()),
        lifetime=lifetime,
        rights=rights if rights or no_rights else None,
    )
    with register_of(directory) as register:
        device = register.change_device(identifier, change)
    answer(device_data(device), f"{identifier} is changed", as_json=as_json)


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
    answer(device_data(device), text, as_json=as_json)


@app.command()
def enable(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Let it have new tokens; old ones stay revoked."""
    with register_of(directory) as register:
        device = register.enable_device(identifier)
    answer(device_data(device), f"{identifier} is enabled", as_json=as_json)


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
    answer_issued(issued, as_json=as_json)


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
    answer_keys(device, as_json=as_json)


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
    answer_keys(device, as_json=as_json)


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
    answer(device_data(device), f"{identifier}: its next tokens are {tokens}", as_json=as_json)


app.command("import")(import_)
app.command()(export)
