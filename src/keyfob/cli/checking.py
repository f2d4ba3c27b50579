# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a configuration is said before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from keyfob.cli.compose import bindings
from keyfob.cli.placing import placed
from keyfob.cli.server_settings import server_settings
from keyfob.config import SecretReference, ServerSection, Settings
from keyfob.errors import ConfigError

__all__ = ["check"]


def check(settings: Settings) -> None:
    """Refuse, before anything starts, what the server or the guard would refuse.

    Raises:
        ConfigError: The message says file and line.
    """
    try:
        server_settings(settings)
    except ConfigError as error:
        if error.key:  # it says already where
            raise
        raise settings.wrong("server.issuer", error.message) from error
    bindings(settings)
    for key, path in _files(settings):
        if path is not None and not os.access(path, os.R_OK):
            raise settings.wrong(key, "cannot be read; write the path of a file that is there")
    for key, text in _secrets(settings):
        if text:
            with placed(settings, key):
                SecretReference.parse(text, settings.directory).read()


def _files(settings: Settings) -> Iterator[tuple[str, Path | None]]:
    """List the files that must be there before anything starts, with their keys."""
    for name in ("certificate", "private_key"):
        path = getattr(settings.server, name)
        # What is there by default `keyfob up` makes, wherever it stands in the file.
        if path != settings.directory / getattr(ServerSection(), name):
            yield f"server.{name}", path
    yield "server.client_ca", settings.server.client_ca
    yield "server.metrics.certificate", settings.server.metrics.certificate
    yield "server.metrics.private_key", settings.server.metrics.private_key
    yield "server.openid.ca", settings.server.openid.ca
    yield "guard.http.certificate", settings.guard.http.certificate
    yield "guard.http.private_key", settings.guard.http.private_key
    for place, issuer in enumerate(settings.issuers):
        yield f"issuer.{place}.ca", issuer.ca


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """List every reference to a secret with its key; empty ones too."""
    yield "server.openid.client_secret", settings.server.openid.client_secret
    for place, issuer in enumerate(settings.issuers):
        key = f"issuer.{place}"
        yield f"{key}.revocation_secret", issuer.revocation_secret
        if (asking := issuer.introspection) is not None:
            yield f"{key}.introspection.client_secret", asking.client_secret
            yield f"{key}.introspection.private_key", asking.private_key
        if issuer.events is not None:
            yield f"{key}.events.authorization", issuer.events.authorization
