# SPDX-License-Identifier: Apache-2.0
"""Over the admin API: the certificates that devices and applications authenticate with."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from keyfob.server.admin.operations import Call, Operation
from keyfob.server.admin_scopes import APPLICATIONS_WRITE, DEVICES_WRITE
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.certificates.registering import MAX_CERTIFICATES, checked_identity
from keyfob.server.clients import Application
from keyfob.server.devices import Device

__all__ = ["OPERATIONS", "CertificateForm", "NewCertificate"]

_Name = Annotated[str, msgspec.Meta(max_length=1_024)]


class CertificateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client's certificate has to be: one name in it (RFC 8705), or which ones they are."""

    tls_client_auth_subject_dn: _Name = ""
    tls_client_auth_san_dns: _Name = ""
    tls_client_auth_san_uri: _Name = ""
    tls_client_auth_san_ip: _Name = ""
    tls_client_auth_san_email: _Name = ""
    tls_client_certificate_thumbprints: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{43}$")], ...],
        msgspec.Meta(max_length=MAX_CERTIFICATES, description="x5t#S256 of each."),
    ] = ()

    @classmethod
    def of(cls, identity: CertificateIdentity) -> CertificateForm:
        """Return the form of an identity."""
        return cls(
            tls_client_auth_subject_dn=identity.subject_dn,
            tls_client_auth_san_dns=identity.san_dns,
            tls_client_auth_san_uri=identity.san_uri,
            tls_client_auth_san_ip=identity.san_ip,
            tls_client_auth_san_email=identity.san_email,
            tls_client_certificate_thumbprints=identity.thumbprints,
        )

    @property
    def identity(self) -> CertificateIdentity:
        """The same for the register, which checks it."""
        return CertificateIdentity(
            subject_dn=self.tls_client_auth_subject_dn,
            san_dns=self.tls_client_auth_san_dns,
            san_uri=self.tls_client_auth_san_uri,
            san_ip=self.tls_client_auth_san_ip,
            san_email=self.tls_client_auth_san_email,
            thumbprints=self.tls_client_certificate_thumbprints,
        )


class NewCertificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client's certificate has to be from now on; null takes it away.

    What is left out stays: the certificate, and whether tokens are ``bound`` to it.
    """

    certificate: CertificateForm | msgspec.UnsetType | None = msgspec.UNSET
    bound: bool | msgspec.UnsetType = msgspec.UNSET
    remove_secret: bool = False

    @property
    def wishes(self) -> dict[str, Any]:
        """The same for the register.

        Raises:
            ConfigError: The certificate is empty, which is not how to take it away.
        """
        certificate, bound = self.certificate, self.bound
        identity = None
        if certificate is None:
            identity = CertificateIdentity()
        elif certificate is not msgspec.UNSET:
            identity = certificate.identity
            if not identity:  # by which the register knows that it is to be taken away
                checked_identity(identity)
        return {
            "certificate": identity,
            "bound": None if bound is msgspec.UNSET else bound,
            "remove_secret": self.remove_secret,
        }


def _of_device(call: Call) -> Device:
    return call.register.set_device_certificate(call.target, **call.body.wishes)


def _of_application(call: Call) -> Application:
    return call.register.set_application_certificate(call.target, **call.body.wishes)


OPERATIONS: Final = (
    Operation(
        name="setDeviceCertificate",
        method="put",
        path="/devices/{id}/certificate",
        summary="Give a device another certificate; the one before stops now.",
        scope=DEVICES_WRITE,
        body=NewCertificate,
        answer=Device,
        work=_of_device,
    ),
    Operation(
        name="setApplicationCertificate",
        method="put",
        path="/applications/{id}/certificate",
        summary="Give an application another certificate; the one before stops now.",
        scope=APPLICATIONS_WRITE,
        body=NewCertificate,
        answer=Application,
        work=_of_application,
    ),
)
