# SPDX-License-Identifier: Apache-2.0
"""The server's certificate: checked before it is shown, renewed without a restart."""

from __future__ import annotations

import ssl

from keyfob.errors import ConfigError
from keyfob.http.listen import Listen

__all__ = ["check_certificate", "load_certificate"]


def check_certificate(listen: Listen) -> None:
    """Load the files aside; a context that failed half way would show a wrong certificate.

    Raises:
        ConfigError: They are not a certificate and its key.
    """
    if listen.certificate is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(listen.certificate, listen.private_key)
    except OSError as error:  # SSLError is one
        raise ConfigError(
            f"{listen.certificate} and {listen.private_key} are no certificate and its key: {error}"
        ) from error


def load_certificate(context: ssl.SSLContext, listen: Listen) -> None:
    """Show what the files hold now, to connections from now on.

    Raises:
        ConfigError: They are not a certificate and its key; the context stays as it is.
    """
    if listen.certificate is not None:
        check_certificate(listen)
        context.load_cert_chain(listen.certificate, listen.private_key)
