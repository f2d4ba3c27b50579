# SPDX-License-Identifier: Apache-2.0
"""The secrets that receivers ask for: needed in clear to be sent, so they rest as signing keys do.

Where ``server.key_encryption`` is set they are sealed with that key; elsewhere they lie in the
register as they are, in a file that only its owner reads and that holds the signing keys too.
"""

from __future__ import annotations

from dataclasses import dataclass

from keyfob.errors import ConfigError
from keyfob.server.events.receiver import Receiver
from keyfob.server.signing.sealing import KeySealer, is_sealed
from keyfob.server.stores.event_receivers import ReceiverTable
from keyfob.server.stores.store import Store

__all__ = ["opened", "seal_all", "written"]

# In place of a key's algorithm: what is sealed for one purpose opens for no other.
_PURPOSE = "receiver"


def written(secret: str, name: str, sealer: KeySealer | None) -> bytes:
    """Return how a receiver's secret is stored."""
    plain = secret.encode("ascii")
    return plain if sealer is None else sealer.seal(plain, kid=name, algorithm=_PURPOSE)


def opened(receiver: Receiver, sealer: KeySealer | None) -> str:
    """Return a receiver's secret; empty: it asks for none.

    Raises:
        ConfigError: It is sealed, and the key for it is not known or another one.
    """
    stored = receiver.credential
    if stored is None:
        return ""
    if is_sealed(stored):
        if sealer is None:
            raise ConfigError(
                f"the secret of the receiver {receiver.name} is encrypted: write where the key for"
                " it is as key_encryption in [server]",
                key="key_encryption",
            )
        try:
            stored = sealer.open(stored, kid=receiver.name, algorithm=_PURPOSE)
        except ConfigError:
            raise ConfigError(
                f"the secret of the receiver {receiver.name} cannot be decrypted:"
                " server.key_encryption is not what it was encrypted with",
                key="key_encryption",
            ) from None
    return stored.decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resealed:
    name: str
    before: bytes
    after: bytes


def seal_all(store: Store, sealer: KeySealer | None) -> None:
    """Encrypt the secrets that are stored as they are, where that was turned on since.

    Raises:
        UpstreamError: The database stayed locked, or the disk is full.
    """
    if sealer is None:
        return
    table = ReceiverTable(store)
    plain = [
        _Resealed(
            name=one.name,
            before=one.credential,
            after=written(one.credential.decode("ascii"), one.name, sealer),
        )
        for one in table.all()
        if one.credential is not None and not is_sealed(one.credential)
    ]
    if not plain:
        return
    with store.transaction():
        for each in plain:
            table.reseal(each.name, before=each.before, after=each.after)
    store.keys.scrub()
