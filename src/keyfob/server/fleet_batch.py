# SPDX-License-Identifier: Apache-2.0
"""Some rows of devices, registered in one transaction, with their new secrets in the answer.

For the admin API: whoever asks has no file here. Where the answer is lost on its way, its secrets
are: the devices are there, and are given new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConfigError, KeyfobError
from keyfob.server.admin_trail import note_done
from keyfob.server.credentials import generate_secrets, hash_secret
from keyfob.server.fleet_import import Prepared, new_device, reject_conflicts
from keyfob.server.fleet_rows import Row, RowReader
from keyfob.server.names import shown_name
from keyfob.server.stores.fleet import NewDevice, insert_devices
from keyfob.server.stores.store import Store

__all__ = ["MAX_ROWS", "BatchOutcome", "DeviceBatch", "DeviceSecret", "RejectedRow"]

MAX_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSecret:
    """A device and its new secret, which is shown this once."""

    device: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRow:
    """A row that was not loaded, and why."""

    row: int
    device: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What was done: so many devices are registered, with the secrets that were made for them."""

    registered: int
    rejected: tuple[RejectedRow, ...]
    secrets: tuple[DeviceSecret, ...]


class DeviceBatch:
    """Registers the devices of a few rows.

    Args:
        store: The register.
        template: What MQTT client identifiers are made of.
        clock: Unix seconds.
        actor: Who does it, for the trail.
        gateways: Whether a row may say for which devices its own acts.
    """

    def __init__(
        self,
        store: Store,
        *,
        template: ClientIdTemplate,
        clock: Callable[[], float],
        actor: str,
        gateways: bool = True,
    ) -> None:
        self._store = store
        self._template = template
        self._clock = clock
        self._actor = actor
        self._gateways = gateways

    def run(self, reader: RowReader) -> BatchOutcome:
        """Register them; rows that are wrong are passed over, and told.

        Raises:
            ConfigError: They are too many.
            UpstreamError: The database stayed locked, or the disk is full; nothing was done.
        """
        prepared = Prepared([], [])
        for line, row in reader.rows():
            if len(prepared.devices) + len(prepared.rejects) == MAX_ROWS:
                raise ConfigError(f"{MAX_ROWS} rows at a time, at most")
            if isinstance(row, ConfigError):
                prepared.rejects.append((line, "", row))
                continue
            try:
                prepared.devices.append((line, self._device(row)))
            except KeyfobError as error:
                prepared.rejects.append((line, row.device, error))
        secrets = _with_secrets(prepared)
        with self._store.transaction():
            reject_conflicts(self._store, prepared)
            devices = [device for _, device in prepared.devices]
            now = self._clock()
            insert_devices(self._store, devices, now=now)
            names = [device.device_id for device in devices]
            note_done(self._store, "device.import", names, actor=self._actor, now=now)
        return BatchOutcome(
            registered=len(devices),
            rejected=tuple(
                RejectedRow(
                    row=line, device=shown_name(name), code=error.code, reason=error.message
                )
                for line, name, error in sorted(prepared.rejects, key=lambda reject: reject[0])
            ),
            secrets=tuple(
                DeviceSecret(device=device.device_id, secret=secrets[line])
                for line, device in prepared.devices
                if line in secrets
            ),
        )

    def _device(self, row: Row) -> NewDevice:
        device = new_device(row, self._template)
        if device.metadata.may_act_for and not self._gateways:
            raise ConfigError("may_act_for needs the right to change grants")
        return device


def _with_secrets(prepared: Prepared) -> dict[int, str]:
    """Give those that bring nothing to prove themselves by a secret; return these by their rows."""
    bare: list[tuple[int, NewDevice]] = [
        (line, device) for line, device in prepared.devices if not device.has_credentials
    ]
    made = generate_secrets(len(bare))
    for (_, device), secret in zip(bare, made, strict=True):
        device.secret_hash = hash_secret(secret)
    return {line: secret for (line, _), secret in zip(bare, made, strict=True)}
