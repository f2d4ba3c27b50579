# SPDX-License-Identifier: Apache-2.0
"""The way to a server: its name, its port, its certificate; each fault by its own name."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from keyfob.cli.doctor.finding import Finding, Section, Severity, found
from keyfob.cli.shown import shown, time_of

__all__ = ["SOON", "Server", "reach"]

SOON: Final = 14 * 86_400
"""Seconds before its end when a certificate is worth a word: an ACME client renews before."""

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME: Final = frozenset({62, 64})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Whom to reach.

    Attributes:
        host: Its name or address; its certificate has to be for that.
        port: TCP's.
        context: Whom to trust; None: no TLS is spoken.
        ca_option: The option that says whom to trust, such as ``--ca``.
        timeout: Seconds for each step.
    """

    host: str
    port: int
    context: ssl.SSLContext | None
    ca_option: str
    timeout: float

    def __str__(self) -> str:
        """Return ``HOST:PORT``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def reach(server: Server, now: float) -> Section:
    """Look up a name, connect, and shake hands; what comes of it, or the step that failed.

    Args:
        server: Whom to reach.
        now: Unix seconds, as this machine believes.
    """
    try:
        entries = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return found(
            "name_unresolved",
            f"{server.host} has no address ({getattr(error, 'strerror', None) or 'no name'})",
            "correct the name, or this machine's DNS",
        )
    addresses = [str(each[4][0]) for each in entries]
    facts: dict[str, object] = {"addresses": list(dict.fromkeys(addresses))}
    try:
        with socket.create_connection((server.host, server.port), server.timeout) as connection:
            if server.context is None:
                return Section(facts=facts)
            with server.context.wrap_socket(connection, server_hostname=server.host) as secured:
                facts |= {"tls": secured.version()}
                shown_one = secured.getpeercert(binary_form=True)
                return Section(facts=facts) | _trusted(server, shown_one, now)
    except ssl.SSLCertVerificationError as error:
        return Section(facts=facts) | _untrusted(server, error, now)
    except (OSError, ValueError) as error:
        return Section(facts=facts, findings=(_unreached(server, error),))


def _unreached(server: Server, error: Exception) -> Finding:
    if isinstance(error, ssl.SSLError):
        return Finding(
            "tls_failed",
            f"{server} speaks no TLS that this machine speaks ({error.reason or 'it hung up'})",
            "is it the port with TLS? It has to speak TLS 1.2 or 1.3",
        )
    if isinstance(error, TimeoutError):
        return Finding(
            "no_answer",
            f"{server} does not answer within {server.timeout:g} s",
            "let firewalls pass this port, and see that the server runs",
        )
    number = getattr(error, "errno", None)
    if number == errno.ECONNREFUSED:
        return Finding(
            "port_closed", f"nobody listens on {server}", "start the server, or correct the port"
        )
    if number == errno.ECONNRESET and server.context is not None:
        return Finding(
            "tls_failed",
            f"{server} hangs up when TLS is spoken",
            "is it the port with TLS? A server may want a client's certificate, too",
        )
    said = getattr(error, "strerror", None) or type(error).__name__
    return Finding("port_closed", f"{server} is not reached ({said})", "look at the network")


# Certificates


def _trusted(server: Server, der: bytes | None, now: float) -> Section:
    if der is None:
        return Section()
    end = x509.load_der_x509_certificate(der).not_valid_after_utc.timestamp()
    facts = {"certificate_until": time_of(end)}
    if end - now > SOON:
        return Section(facts=facts)
    soon = Finding(
        "certificate_ends_soon",
        f"the certificate of {server} ends on {time_of(end)}, then no device connects",
        "renew it, and see to it that it renews itself",
        severity=Severity.NOTE,
    )
    return Section(facts=facts, findings=(soon,))


def _untrusted(server: Server, error: ssl.SSLCertVerificationError, now: float) -> Section:
    certificate = _presented(server)
    code = error.verify_code
    if code in _WRONG_NAME:
        names = ", ".join(map(shown, _names(certificate))) or "nobody"
        return found(
            "certificate_wrong_name",
            f"the certificate of {server} is for {names}: devices refuse it",
            f"use a name that it is for, or get a certificate for {server.host}",
        )
    if code in _UNKNOWN_CA:
        issuer = shown(certificate.issuer.rfc4514_string()) if certificate else "an unknown one"
        return found(
            "certificate_unknown_ca",
            f"the certificate of {server} is signed by {issuer}, whom this machine does not trust",
            f"name that authority's certificate with {server.ca_option} FILE; if it is signed by a"
            " public one, have the server send the intermediate certificates, too",
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        return _outside(server, certificate, now, expired=code == _EXPIRED)
    return found(
        "certificate_untrusted",
        f"the certificate of {server} is not trusted ({error.verify_message})",
        "get another certificate",
    )


def _outside(
    server: Server, certificate: x509.Certificate | None, now: float, *, expired: bool
) -> Section:
    clock = f"this machine's clock says {time_of(now)}"
    if certificate is None:
        span = "is outside of its time"
    else:
        since = time_of(certificate.not_valid_before_utc.timestamp())
        span = f"is for the time from {since} to " + time_of(
            certificate.not_valid_after_utc.timestamp()
        )
    if expired:
        return found(
            "certificate_expired",
            f"the certificate of {server}, or of its authority, {span}; {clock}",
            "renew the certificate; if the clock is ahead, set it (NTP)",
        )
    return found(
        "certificate_not_yet_valid",
        f"the certificate of {server}, or of its authority, {span}; {clock}",
        "set this machine's clock (NTP): one that was without power begins in the past",
    )


def _presented(server: Server) -> x509.Certificate | None:
    """Look at a certificate that is not trusted; nothing is said to whom it belongs to."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((server.host, server.port), server.timeout) as connection,
            context.wrap_socket(connection, server_hostname=server.host) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der) if der else None
    except (OSError, ValueError):
        return None


def _names(certificate: x509.Certificate | None) -> list[str]:
    if certificate is None:
        return []
    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = named.get_values_for_type(x509.IPAddress)
    return [*named.get_values_for_type(x509.DNSName), *map(str, addresses)]
