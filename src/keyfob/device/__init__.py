# SPDX-License-Identifier: Apache-2.0
"""The device's side of OAuth 2.0 for MQTT: a token that is never shown after its time.

    from keyfob.device import TokenSource
    from keyfob.device.paho import attach

    source = TokenSource("https://as.example", client_id="dev1", client_secret=secret)
    attach(client, source)   # a paho client: every CONNECT shows a good token from now on

``TokenSource`` keeps a token fresh, for threads and for event loops. ``grants`` are the ways to get
one, ``store`` keeps it between two runs; ``keyfob.oauth.client_authentication`` are the ways to say
who is asking.
"""

from keyfob.device.clock import Clock, Moment
from keyfob.device.encrypted_store import EncryptedFileStore
from keyfob.device.grants import (
    ClientCredentials,
    DeviceCode,
    Grant,
    Invitation,
    JWTBearer,
    Password,
    RefreshToken,
)
from keyfob.device.keyring_store import KeyringStore
from keyfob.device.renewal import Freshness
from keyfob.device.source import TokenSource
from keyfob.device.store import FileStore, MemoryStore, TokenStore
from keyfob.device.token import Token
from keyfob.oauth.client_authentication import (
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
    PublicClient,
)

__all__ = [
    "ClientCredentials",
    "ClientSecretBasic",
    "ClientSecretPost",
    "Clock",
    "DeviceCode",
    "EncryptedFileStore",
    "FileStore",
    "Freshness",
    "Grant",
    "Invitation",
    "JWTBearer",
    "KeyringStore",
    "MemoryStore",
    "Moment",
    "Password",
    "PrivateKeyJwt",
    "PublicClient",
    "RefreshToken",
    "Token",
    "TokenSource",
    "TokenStore",
]
