# SPDX-License-Identifier: Apache-2.0
"""``keyfob application``: OAuth clients through which devices get tokens."""

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
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.key_files import Jwks, JwksArgument, RemoveSecret, read_jwks
from keyfob.cli.output import Json, answer, fields, table
from keyfob.cli.target import option_of, register_of
from keyfob.cli.token_options import Dpop, Opaque, token_metadata
from keyfob.server.wishes import ApplicationWish

__all__ = ["app"]

app = typer.Typer(
    help="Register applications that get tokens for devices.",
    no_args_is_help=True,
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The application's client_id.")]


@app.command()
def add(
    identifier: Identifier,
    public: Annotated[
        bool, typer.Option("--public", help="It cannot keep a secret, so it has none.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="It gets refresh tokens and may use them.")
    ] = False,
    device_code: Annotated[
        bool,
        typer.Option(
            "--device-code",
            help="It gets tokens for devices that somebody approves, not for their passwords.",
        ),
    ] = False,
    jwks: Jwks = None,
    certificate: Certificate = None,
    certificate_name: CertificateName = None,
    certificate_bound: CertificateBound = False,
    opaque: Opaque = None,
    dpop: Dpop = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Register one, by default for the password grant.

    Its secret, if it has one, is shown this once.
    """
    wish = ApplicationWish(
        identifier,
        public=public,
        refresh=refresh,
        device_code=device_code,
        jwks=None if jwks is None else read_jwks(jwks),
        certificate=certificate_identity(certificate, certificate_name),
        certificate_bound=certificate_bound,
        metadata=token_metadata(opaque=opaque, dpop=dpop),
    )
    with register_of(directory) as register:
        issued = register.add_application(wish)
    data: dict[str, object] = {"client_id": issued.application.id}
    if issued.secret is not None:
        data["client_secret"] = issued.secret
    data["grant_types"] = " ".join(issued.application.grants)
    answer(data, fields(data), as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List the applications."""
    with register_of(directory) as register:
        applications = register.list_applications()
    rows = [
        (one.id, "public" if one.public else "confidential", " ".join(one.grants))
        for one in applications
    ]
    text = table(("ID", "KIND", "GRANTS"), rows)
    if not rows:
        text = f"no applications; `keyfob application add ID{option_of(directory)}` registers one"
    data = [
        {"client_id": one.id, "public": one.public, "grant_types": " ".join(one.grants)}
        for one in applications
    ]
    answer(data, text, as_json=as_json)


@app.command("set-jwks")
def set_jwks(
    identifier: Identifier,
    file: JwksArgument,
    remove_secret: RemoveSecret = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Give it other keys; those before stop working now."""
    keys = read_jwks(file)
    with register_of(directory) as register:
        register.set_application_jwks(identifier, keys, remove_secret=remove_secret)
    data = {"client_id": identifier, "keys_changed": True}
    answer(data, f"{identifier} has other keys", as_json=as_json)


@app.command("set-certificate")
def set_certificate(
    identifier: Identifier,
    certificate: Certificate = None,
    certificate_name: CertificateName = None,
    bound: Bound = None,
    take_away: Annotated[
        bool, typer.Option("--remove", help="It has no certificate from now on.")
    ] = False,
    remove_secret: RemoveSecret = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Give it another certificate; the one before stops now."""
    identity = certificate_identity(certificate, certificate_name, remove=take_away)
    with register_of(directory) as register:
        register.set_application_certificate(
            identifier, identity, bound=bound, remove_secret=remove_secret
        )
    data = {"client_id": identifier, "certificate_changed": True}
    answer(data, f"{identifier} has other certificate settings", as_json=as_json)


@app.command()
def remove(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Remove an application.

    Refresh tokens that devices got through it stop now, access tokens end in their own time.
    """
    with register_of(directory) as register:
        register.remove_application(identifier)
    answer({"client_id": identifier, "removed": True}, f"{identifier} is removed", as_json=as_json)
