# SPDX-License-Identifier: Apache-2.0
"""Composes who is in front of the authorization server, and how clients show certificates to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keyfob.config import Settings
from keyfob.errors import ConfigError
from keyfob.http.proxy import CertificateHeader, Proxies
from keyfob.server.mutual_tls import MutualTls

__all__ = ["mutual_tls"]


def mutual_tls(settings: Settings) -> MutualTls:
    """Make how clients can show certificates, of ``[server]`` and ``[server.proxy]``.

    Raises:
        ConfigError: A value is not what it has to be; the message says file and line.
    """
    server = settings.server
    proxies = _proxies(settings)
    key = "server.mtls_url" if server.mtls_url else "server.certificate_bound_tokens"
    with _placed(settings, key):
        return MutualTls(
            asked=server.client_ca is not None,
            proxies=proxies,
            base=server.mtls_url,
            bound=server.certificate_bound_tokens,
        )


def _proxies(settings: Settings) -> Proxies | None:
    section = settings.server.proxy
    header = None
    if section.certificate_header:
        with _placed(settings, "server.proxy.certificate_header"):
            header = CertificateHeader(
                name=section.certificate_header.lower(),
                form=section.certificate_format,
                verification=section.verification_header.lower(),
                verified=section.only_verified,
            )
    elif section.verification_header or section.only_verified:
        name = "verification_header" if section.verification_header else "only_verified"
        message = "is of a certificate_header that is missing; write it too"
        raise settings.wrong(f"server.proxy.{name}", message)
    if not section.trusted:
        if header is not None:
            message = "nobody may write it; name the proxies in trusted"
            raise settings.wrong("server.proxy.certificate_header", message)
        return None
    with _placed(settings, "server.proxy.trusted"):
        return Proxies.at(section.trusted, certificate=header)


@contextmanager
def _placed(settings: Settings, key: str) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise settings.wrong(key, error.message) from error
