# SPDX-License-Identifier: Apache-2.0
"""Which register a command works on: the installation's, or with ``--server`` one over HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from keyfob.cli.admin_client import AdminClient, read_credentials
from keyfob.cli.chosen_server import ChosenServer, chosen_server
from keyfob.cli.installation import settings_of
from keyfob.cli.local_registers import open_register
from keyfob.cli.local_registers import operators_of as local_operators
from keyfob.cli.registers import (
    AnyGrants,
    AnyKeyRegister,
    AnyOperators,
    AnyReceivers,
    AnyRegister,
    AnyRegistrationTokens,
)
from keyfob.cli.remote_grants import RemoteGrants
from keyfob.cli.remote_keys import RemoteKeyRegister
from keyfob.cli.remote_operators import RemoteOperators
from keyfob.cli.remote_receivers import RemoteReceivers
from keyfob.cli.remote_registers import RemoteRegister
from keyfob.cli.remote_registration_tokens import RemoteRegistrationTokens
from keyfob.cli.server_database import server_database
from keyfob.cli.server_settings import own_template, signing_settings
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.registration.initial_tokens import RegistrationTokens
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.stores.store import open_store

__all__ = [
    "grants_of",
    "key_register_of",
    "operators_of",
    "option_of",
    "receivers_of",
    "register_of",
    "registration_tokens_of",
]


def option_of(directory: Path) -> str:
    """Return what to type after a command for the same register, with a space before it."""
    return "" if chosen_server().server else settings_of(directory).option


@contextlib.contextmanager
def register_of(directory: Path) -> Iterator[AnyRegister]:
    """Open the register that a command works on.

    Args:
        directory: The installation's folder; of no matter with ``--server``.

    Raises:
        ConfigError: There is no installation, or there are no credentials.
    """
    if (chosen := chosen_server()).server:
        with _client(chosen) as client:
            yield RemoteRegister(client)
        return
    with open_register(settings_of(directory)) as register:
        yield register


@contextlib.contextmanager
def key_register_of(directory: Path) -> Iterator[AnyKeyRegister]:
    """Open the signing keys that a command works on; see ``register_of``."""
    if (chosen := chosen_server()).server:
        with _client(chosen) as client:
            yield RemoteKeyRegister(client)
        return
    settings = settings_of(directory).settings
    with KeyRegister.open(
        server_database(settings), signing_settings(settings), migrate=settings.server.migrate
    ) as register:
        yield register


@contextlib.contextmanager
def registration_tokens_of(directory: Path) -> Iterator[AnyRegistrationTokens]:
    """Open the initial access tokens that a command works on; see ``register_of``."""
    if (chosen := chosen_server()).server:
        with _client(chosen) as client:
            yield RemoteRegistrationTokens(client)
        return
    settings = settings_of(directory).settings
    database, migrate = server_database(settings), settings.server.migrate
    store = open_store(database, migrate=migrate)
    with RegistrationTokens(store, client_id_template=own_template(settings)) as tokens:
        yield tokens


@contextlib.contextmanager
def grants_of(directory: Path) -> Iterator[AnyGrants]:
    """Open the grants of clients that a command works on; see ``register_of``."""
    if (chosen := chosen_server()).server:
        with _client(chosen) as client:
            yield RemoteGrants(client)
        return
    with open_register(settings_of(directory)) as register:
        yield register


@contextlib.contextmanager
def operators_of(directory: Path) -> Iterator[AnyOperators]:
    """Open the operators that a command works on; see ``register_of``."""
    if (chosen := chosen_server()).server:
        with _client(chosen) as client:
            yield RemoteOperators(client)
        return
    with local_operators(directory) as operators:
        yield operators


@contextlib.contextmanager
def receivers_of(directory: Path) -> Iterator[AnyReceivers]:
    """Open the receivers of events that a command works on; see ``register_of``."""
    if (chosen := chosen_server()).server:
        with _client(chosen) as client:
            yield RemoteReceivers(client)
        return
    settings = settings_of(directory).settings
    with ReceiverRegister.open(
        server_database(settings),
        signing_settings(settings).sealer,
        migrate=settings.server.migrate,
    ) as receivers:
        yield receivers


@contextlib.contextmanager
def _client(chosen: ChosenServer) -> Iterator[AdminClient]:
    credentials = read_credentials(chosen.credentials)
    client = AdminClient(chosen.server, credentials, ca=chosen.ca)
    try:
        yield client
    finally:
        client.close()
