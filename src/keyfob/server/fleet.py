# SPDX-License-Identifier: Apache-2.0
"""The fleet as a whole: its groups, and what is done to many devices at once.

Many devices are many transactions, each of some thousand: a server that runs never waits for long.
What one of them did is whole, a device's state and its revocation together, as for one device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace

from keyfob.authorization.binding import ClientIdTemplate
from keyfob.errors import ConflictError, NotFoundError
from keyfob.server.admin_trail import note_done, recorded, recorded_when_refused
from keyfob.server.fleet_batch import BatchOutcome, DeviceBatch
from keyfob.server.fleet_import import DeviceImport, ImportOutcome
from keyfob.server.fleet_many import CHUNK, EVERY_DEVICE, Chosen, ManyDevices, ManyOutcome
from keyfob.server.fleet_rows import Format, RowReader, written
from keyfob.server.groups import Group, GroupRights
from keyfob.server.names import shown_name
from keyfob.server.private_file import PrivateFile
from keyfob.server.stores.fleet import (
    DeviceRow,
    Selection,
    delete_group,
    device_page,
    group_page,
    group_row,
    leave_group,
    put_group,
)
from keyfob.server.stores.store import Store

__all__ = ["EVERY_DEVICE", "Chosen", "Fleet", "ManyOutcome", "Selection"]


class Fleet:
    """Groups and many devices; made by ``Register.fleet``.

    Args:
        store: The register.
        template: What MQTT client identifiers are made of.
        clock: Unix seconds.
        actor: Who changes it, for the trail.
    """

    def __init__(
        self,
        store: Store,
        *,
        template: ClientIdTemplate,
        clock: Callable[[], float],
        actor: str,
    ) -> None:
        self._store = store
        self._template = template
        self._clock = clock
        self._actor = actor

    def _recorded(self, action: str, subject: str) -> AbstractContextManager[None]:
        return recorded(self._store, action, subject, actor=self._actor, clock=self._clock)

    def _refused(self, action: str) -> AbstractContextManager[None]:
        return recorded_when_refused(self._store, action, actor=self._actor, clock=self._clock)

    # Groups

    def add_group(
        self,
        name: str,
        *,
        publish: Iterable[str] = (),
        subscribe: Iterable[str] = (),
        scopes: Iterable[str] = (),
        lifetime: int | None = None,
    ) -> Group:
        """Make a group.

        Raises:
            ConfigError: Name, scope or lifetime is not allowed.
            TopicError: A filter is not one.
            ConflictError: There is a group of this name.
        """
        group = Group(
            name=name,
            publish=tuple(publish),
            subscribe=tuple(subscribe),
            scopes=tuple(scopes),
            lifetime=lifetime,
            created_at=self._clock(),
        )
        with self._recorded("group.add", name):
            group.check()
            with self._store.transaction():
                if group_row(self._store, name) is not None:
                    raise ConflictError(f"there is a group {name!r} already")
                put_group(self._store, group)
        return group

    def set_group(self, name: str, changes: Mapping[str, object]) -> Group:
        """Change what a group gives; it counts from its devices' next tokens on.

        Args:
            name: Which one.
            changes: ``publish``, ``subscribe``, ``scopes`` and ``lifetime``, those that change.

        Raises:
            ConfigError: A scope or the lifetime is not allowed.
            TopicError: A filter is not one.
            NotFoundError: There is none of this name.
        """
        with self._recorded("group.set", name), self._store.transaction():
            group: Group = replace(self.show_group(name), **changes)  # type: ignore[arg-type]
            group.check()
            put_group(self._store, group)
        return group

    def show_group(self, name: str) -> Group:
        """Return a group.

        Raises:
            NotFoundError: There is none of this name.
        """
        group = group_row(self._store, name)
        if group is None:
            raise NotFoundError(f"no group {shown_name(name)!r}; `keyfob group list` shows them")
        return group

    def list_groups(self, *, after: str = "", limit: int = 1_000) -> tuple[Group, ...]:
        """Return a page of groups, by name.

        Args:
            after: The name before the first of them; empty for the first page.
            limit: How many at most.
        """
        return group_page(self._store, after=after, limit=limit)

    def remove_group(self, name: str) -> None:
        """Take every device out of a group and forget it.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._refused("group.remove"):
            self.show_group(name)
            left = CHUNK
            while left == CHUNK:
                with self._store.transaction():
                    left = leave_group(self._store, name, limit=CHUNK)
                    if left < CHUNK:
                        delete_group(self._store, name)
                        note_done(
                            self._store,
                            "group.remove",
                            (name,),
                            actor=self._actor,
                            now=self._clock(),
                        )

    def rights(self, client_id: str) -> tuple[str, ...]:
        """Return what a device's tokens may say: its own scopes and those of its groups."""
        client = self._store.client(client_id)
        if client is None:
            return ()
        groups = GroupRights(lambda name: group_row(self._store, name), lambda: 0)
        return groups.applied(client).scopes

    # Many devices

    def import_devices(
        self,
        reader: RowReader,
        *,
        rejects: PrivateFile,
        secrets: PrivateFile | None,
        restart: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ImportOutcome:
        """Register the devices of a file; see ``fleet_import``.

        Raises:
            ConfigError: The input or the file for secrets is not what it has to be.
            ConflictError: The file of secrets holds others, or somebody imports the same now.
        """
        work = DeviceImport(
            self._store,
            reader,
            rejects=rejects,
            secrets=secrets,
            template=self._template,
            clock=self._clock,
            actor=self._actor,
            on_progress=on_progress,
        )
        with self._refused("device.import"):
            return work.run(restart=restart)

    def page(self, selection: Selection, *, after: str, limit: int) -> tuple[DeviceRow, ...]:
        """Return the devices of a selection that follow a name, by name."""
        return device_page(self._store, selection, after=after, limit=limit)

    def pages(self, selection: Selection, *, after: str = "") -> Iterator[tuple[DeviceRow, ...]]:
        """Yield all devices of a selection, by name, page by page."""
        while page := device_page(self._store, selection, after=after, limit=CHUNK):
            yield page
            after = page[-1].device_id

    def written(self, selection: Selection, form: Format) -> Iterator[str]:
        """Yield all devices of a selection as rows of a file, many at a time; without a header."""
        for page in self.pages(selection):
            yield written(page, form)

    def disable(
        self, chosen: Chosen, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> ManyOutcome:
        """Give devices no new token, and revoke those that they have; see ``ManyDevices``.

        Raises:
            ConfigError: The file of names cannot be read.
        """
        with self._refused("device.disable"):
            return self._many(on_progress).disable(chosen)

    def rotate(
        self,
        chosen: Chosen,
        secrets: PrivateFile,
        *,
        overlap: int = 0,
        until_used: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ManyOutcome:
        """Give devices new secrets, which are in a file before they count; see ``ManyDevices``.

        Args:
            chosen: Which ones; those that have keys or a certificate and no secret are passed
                over.
            secrets: Where the new secrets are written to.
            overlap: Seconds that the old ones work, too.
            until_used: Whether each stops earlier, once the new one was used.
            on_progress: Is told how many are done.

        Raises:
            ConfigError: The overlap is too long, or the file is not the one from before.
            ConflictError: The file holds secrets already, or all of this was done.
        """
        with self._refused("device.rotate-secret"):
            return self._many(on_progress).rotate(
                chosen, secrets, overlap=overlap, until_used=until_used
            )

    def rotate_listed(
        self, names: tuple[str, ...], *, overlap: int = 0, until_used: bool = False
    ) -> tuple[ManyOutcome, list[tuple[str, str]]]:
        """Give devices new secrets in one transaction, and return these with their names.

        Raises:
            ConfigError: The overlap is too long.
        """
        with self._refused("device.rotate-secret"):
            return self._many(lambda _: None).rotate_listed(
                names, overlap=overlap, until_used=until_used
            )

    def import_batch(self, reader: RowReader, *, gateways: bool = True) -> BatchOutcome:
        """Register the devices of a few rows in one transaction; see ``fleet_batch``."""
        with self._refused("device.import"):
            batch = DeviceBatch(
                self._store,
                template=self._template,
                clock=self._clock,
                actor=self._actor,
                gateways=gateways,
            )
            return batch.run(reader)

    def _many(self, on_progress: Callable[[int], None]) -> ManyDevices:
        return ManyDevices(
            self._store, clock=self._clock, actor=self._actor, on_progress=on_progress
        )
