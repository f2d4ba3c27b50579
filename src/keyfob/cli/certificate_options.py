# SPDX-License-Identifier: Apache-2.0
"""The options by which a client's certificate is told: a file, or a name that it has."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from keyfob.errors import ConfigError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import MAX_FILE_BYTES, pinned_certificates

__all__ = [
    "Bound",
    "Certificate",
    "CertificateBound",
    "CertificateName",
    "certificate_data",
    "certificate_identity",
]

Certificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="It authenticates by this certificate (PEM, 8 at most, or a JWK Set with x5c),"
        " self-signed or not, and has no secret.",
    ),
]
CertificateName = Annotated[
    str | None,
    typer.Option(
        metavar="KIND:VALUE",
        help="It authenticates by a certificate of an authority (client_ca) that has this name:"
        " subject, dns, uri, ip or email, such as dns:dev1.example; it has no secret.",
    ),
]
CertificateBound = Annotated[
    bool,
    typer.Option("--certificate-bound", help="Its tokens are bound to its certificate."),
]
Bound = Annotated[
    bool | None,
    typer.Option("--bound/--not-bound", help="Whether its tokens are bound to its certificate."),
]

_FIELDS: Final = MappingProxyType(
    {
        "subject": "subject_dn",
        "dns": "san_dns",
        "uri": "san_uri",
        "ip": "san_ip",
        "email": "san_email",
    }
)


def certificate_identity(
    file: Path | None, name: str | None, *, remove: bool = False
) -> CertificateIdentity | None:
    """Return what a client's certificate has to be; None where nothing is said of it.

    Args:
        file: Of certificates.
        name: In a certificate, with its kind.
        remove: Whether it shall have none: an empty identity.

    Raises:
        ConfigError: More than one is given, the file cannot be read, or one of them is not good.
    """
    if (file is not None) + (name is not None) + remove > 1:
        raise ConfigError("give one of --certificate, --certificate-name and --remove")
    if remove:
        return CertificateIdentity()
    if file is not None:
        return pinned_certificates(_read(file))
    if name is None:
        return None
    kind, colon, value = name.partition(":")
    field = _FIELDS.get(kind.lower())
    if field is None or not colon or not value:
        raise ConfigError(
            f"{name!r} is no name in a certificate; write {', '.join(_FIELDS)}, a colon, and it"
        )
    given: dict[str, Any] = {field: value}
    return CertificateIdentity(**given)


def certificate_data(identity: CertificateIdentity, *, bound: bool) -> dict[str, object]:
    """Return what is shown of a certificate; nothing where there is none."""
    data: dict[str, object] = {}
    for kind, field in _FIELDS.items():
        if value := getattr(identity, field):
            data["certificate_name"] = f"{kind}:{value}"
    if identity.thumbprints:
        data["certificates"] = " ".join(identity.thumbprints)
    if bound:
        data["certificate_bound"] = True
    return data


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
