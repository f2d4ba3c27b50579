# SPDX-License-Identifier: Apache-2.0
"""The TLS of a listener: what its files hold, read anew without a restart.

A context of OpenSSL can learn another certificate and another authority, but it cannot forget one,
and it goes on to resume sessions that it has verified by an authority that is gone. So a renewal
makes a whole new context, and connections from then on use it.
"""

from __future__ import annotations

import ssl
from typing import Any, Self

from keyfob.errors import ConfigError
from keyfob.http.listen import Listen

__all__ = ["RenewableContext", "check_tls"]


class RenewableContext(ssl.SSLContext):
    """A context for a server that hands each connection to the newest one.

    Event loops take a context once, when they begin to listen.
    """

    _newest: ssl.SSLContext
    _listen: Listen

    @classmethod
    def of(cls, listen: Listen) -> Self:
        """Make it from the files.

        Raises:
            ConfigError: They are not what they have to be.
        """
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._listen = listen
        made.renew()
        return made

    def renew(self) -> None:
        """Go by what the files hold now, for connections from now on.

        Raises:
            ConfigError: They are not what they have to be; nothing changes.
        """
        self._newest = _context(self._listen)

    def is_newest(self, secured: ssl.SSLObject) -> bool:
        """Say whether a connection began by what the files held when they were last read."""
        return secured.context is self._newest

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection; see ``ssl.SSLContext``."""
        return self._newest.wrap_bio(*arguments, **named)

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        """Begin a connection; see ``ssl.SSLContext``."""
        return self._newest.wrap_socket(*arguments, **named)


def check_tls(listen: Listen) -> None:
    """Refuse, before anything listens, what the files hold if it cannot be used.

    Raises:
        ConfigError: They are not a certificate and its key, or no authorities; or a client's
            certificate is to be asked for without TLS.
    """
    if listen.certificate is not None:
        _context(listen)
    elif listen.client_ca is not None:
        raise ConfigError("certificates of clients need TLS: there is no certificate to show them")


def _context(listen: Listen) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(str(listen.certificate), listen.private_key)
    except OSError as error:  # SSLError is one
        raise ConfigError(
            f"{listen.certificate} and {listen.private_key} are no certificate and its key: {error}"
        ) from error
    if listen.client_ca is not None:
        _ask_for_certificate(context, listen)
    return context


def _ask_for_certificate(context: ssl.SSLContext, listen: Listen) -> None:
    """Let clients show a certificate: one that is no good ends the handshake (RFC 8446 4.4.2.4).

    OpenSSL verifies signatures, validity, basic constraints, and that it may be used for client
    authentication (RFC 5280 section 4.2.1.12).
    """
    try:
        context.load_verify_locations(listen.client_ca)
    except OSError as error:
        raise ConfigError(f"{listen.client_ca} holds no certificates: {error}") from error
    if not context.get_ca_certs():
        raise ConfigError(f"{listen.client_ca} holds no certificate of an authority")
    context.verify_mode = ssl.CERT_OPTIONAL
