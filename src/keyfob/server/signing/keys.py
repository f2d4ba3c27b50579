# SPDX-License-Identifier: Apache-2.0
"""From stored keys to keys that sign, and back; and what is done before a server starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keyfob.errors import ConfigError
from keyfob.server.signing.events import KeyAudit, differences, ignore_keys
from keyfob.server.signing.sealing import KeySealer, is_sealed
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import (
    Change,
    StoredKey,
    planned,
    reconfigured,
    timetable,
)
from keyfob.server.stores.store import Store
from keyfob.tokens.sign import SigningKey

__all__ = ["apply", "loaded", "made", "prepare"]


def made(settings: SigningSettings, *, signs_from: float, now: float) -> StoredKey:
    """Make a new key, ready to be stored. An RSA key takes a while."""
    algorithm = settings.rotation.algorithm
    key = SigningKey.generate(algorithm)
    while key.kid.startswith("-"):  # somebody may have to type it as an argument
        key = SigningKey.generate(algorithm)
    return StoredKey(
        kid=key.kid,
        algorithm=algorithm,
        private_key=_written(key.to_pem(), key.kid, algorithm, settings.sealer),
        created_at=now,
        signs_from=signs_from,
    )


def loaded(stored: StoredKey, sealer: KeySealer | None) -> SigningKey:
    """Read a stored key. An RSA key takes some 50 ms, so nobody does it for a request.

    Raises:
        ConfigError: It is encrypted, and how to decrypt it is not known or wrong; or it is not
            the key that its name says.
    """
    pem = stored.private_key
    if is_sealed(pem):
        if sealer is None:
            raise ConfigError(
                f"the signing key {stored.kid} is encrypted: write where the key for it is, as"
                ' key_encryption = "file:PATH" or "env:NAME" in [server]',
                key="key_encryption",
            )
        pem = sealer.open(pem, kid=stored.kid, algorithm=stored.algorithm)
    key = SigningKey.from_pem(pem, alg=stored.algorithm)
    if key.kid != stored.kid:
        raise ConfigError(f"what is stored as the signing key {stored.kid} is another key")
    return key


def prepare(
    store: Store,
    settings: SigningSettings,
    *,
    clock: Callable[[], float],
    audit: KeyAudit = ignore_keys,
) -> Mapping[str, SigningKey]:
    """Make the keys fit for a server that starts, and return them by name.

    The first key is made where there is none. An algorithm that was changed begins a rotation.
    Keys that are stored as they are get encrypted, where that was turned on.

    Raises:
        ConfigError: A stored key cannot be read.
        UpstreamError: The database stayed locked, or the disk is full.
    """
    found = store.keys.all()
    while True:
        stored, now = store.keys.all(), clock()
        keys = {key.kid: loaded(key, settings.sealer) for key in stored}  # before anything changes
        change = planned(stored, settings.rotation, now)
        change = change or reconfigured(stored, settings.rotation, now)
        if change is None:
            break
        apply(store, settings, change, now=now)
    _seal(store, stored, settings.sealer)
    if found:
        for event in differences(timetable(found, now), timetable(stored, now), now=now):
            audit(event)
    return keys


def apply(
    store: Store, settings: SigningSettings, change: Change, *, now: float
) -> tuple[bool, str]:
    """Make one change, or nothing where somebody else was faster.

    Returns:
        Whether it was made, and the name of the new key, empty if there is none.
    """
    new = None
    if change.signs_from is not None:
        new = made(settings, signs_from=change.signs_from, now=now)
    with store.transaction():
        done = store.keys.change(change, new)
    return done, "" if new is None else new.kid


def _seal(store: Store, stored: tuple[StoredKey, ...], sealer: KeySealer | None) -> None:
    plain = [key for key in stored if not is_sealed(key.private_key)]
    if sealer is None or not plain:
        return
    with store.transaction():
        for key in plain:
            sealed = sealer.seal(key.private_key, kid=key.kid, algorithm=key.algorithm)
            store.keys.reseal(key.kid, before=key.private_key, after=sealed)
    store.keys.scrub()


def _written(pem: bytes, kid: str, algorithm: str, sealer: KeySealer | None) -> bytes:
    return pem if sealer is None else sealer.seal(pem, kid=kid, algorithm=algorithm)
