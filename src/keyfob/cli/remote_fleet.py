# SPDX-License-Identifier: Apache-2.0
"""Groups and many devices of a server somewhere else, through its admin API.

Where the register is at hand, new secrets are in their file before they count. Over the network
they come with the answer: an interruption between the two loses those of one request, and their
devices are given new ones by ``keyfob device rotate``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from keyfob.cli.admin_client import NOTHING, PAGE, AdminClient, gathered, one, selected
from keyfob.cli.remote_import import RemoteImport, keep_secrets
from keyfob.errors import ConfigError, ConflictError
from keyfob.server.admin.bulk import MAX_NAMES, NamedDevices, NewSecrets, RotatedSecrets
from keyfob.server.admin.devices import DevicePage, DeviceRights
from keyfob.server.admin.groups import GroupChange, GroupPage, NewGroup
from keyfob.server.fleet import Chosen, ManyOutcome, Selection
from keyfob.server.fleet_import import ImportOutcome
from keyfob.server.fleet_rows import Format, RowReader
from keyfob.server.groups import Group
from keyfob.server.private_file import PrivateFile

__all__ = ["RemoteFleet"]


class RemoteFleet:
    """An ``AnyFleet``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

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
        """Make a group."""
        wish = NewGroup(
            name=name,
            publish=tuple(publish),
            subscribe=tuple(subscribe),
            scopes=tuple(scopes),
            lifetime=lifetime,
        )
        return self._client.ask("POST", "groups", kind=Group, body=wish)

    def set_group(self, name: str, changes: Mapping[str, object]) -> Group:
        """Change what a group gives."""
        members: dict[str, Any] = dict(changes)
        wish = GroupChange(**members)
        return self._client.ask("PATCH", *one("groups", name), kind=Group, body=wish)

    def show_group(self, name: str) -> Group:
        """Show a group."""
        return self._client.ask("GET", *one("groups", name), kind=Group)

    def list_groups(self, *, after: str = "", limit: int = 1_000) -> tuple[Group, ...]:
        """List a page of groups."""
        return gathered(
            lambda place: self._client.ask("GET", "groups", kind=GroupPage, query=place),
            after=after,
            limit=limit,
        )

    def remove_group(self, name: str) -> None:
        """Remove a group."""
        self._client.ask("DELETE", *one("groups", name), kind=NOTHING)

    def rights(self, client_id: str) -> tuple[str, ...]:
        """Show what a device's tokens may say."""
        path = *one("devices", client_id), "rights"
        return self._client.ask("GET", *path, kind=DeviceRights).scopes

    # Many devices

    def disable(
        self, chosen: Chosen, *, on_progress: Callable[[int], None] = lambda _: None
    ) -> ManyOutcome:
        """Disable devices, a thousand in a request."""
        outcome = ManyOutcome()
        for names in self._names(chosen):
            wish = NamedDevices(devices=names)
            done = self._client.ask("POST", "bulk", "disable", kind=ManyOutcome, body=wish)
            outcome = _both(outcome, done)
            on_progress(outcome.done)
        return outcome

    def rotate(
        self,
        chosen: Chosen,
        secrets: PrivateFile,
        *,
        overlap: int = 0,
        until_used: bool = False,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ManyOutcome:
        """Give devices new secrets, a thousand in a request.

        Raises:
            ConflictError: The file holds secrets already.
        """
        if secrets.size:
            raise ConflictError(f"{secrets.path} holds secrets already: name a new file")
        outcome = ManyOutcome()
        for names in self._names(chosen):
            wish = NewSecrets(devices=names, overlap=overlap, until_used=until_used)
            done = self._client.ask(
                "POST", "bulk", "rotate-secrets", kind=RotatedSecrets, body=wish
            )
            keep_secrets(secrets, done.secrets)
            outcome = _both(outcome, done.outcome)
            on_progress(outcome.done)
        return outcome

    def import_devices(
        self,
        reader: RowReader,
        *,
        rejects: PrivateFile,
        secrets: PrivateFile | None,
        restart: bool = False,  # noqa: ARG002 - it always begins anew; what is there is rejected
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> ImportOutcome:
        """Register the devices of a file, some hundred in a request.

        Raises:
            ConfigError: A secret has to be made and there is no file for it.
            ConflictError: The file of secrets holds others.
        """
        work = RemoteImport(self._client, rejects=rejects, secrets=secrets)
        return work.run(reader, on_progress=on_progress)

    def written(self, selection: Selection, form: Format) -> Iterator[str]:
        """Yield devices as JSON lines, many at a time.

        Raises:
            ConfigError: Another form was asked for.
        """
        if form != "jsonl":
            raise ConfigError("a server somewhere else exports JSON lines: --format jsonl")
        after: str | None = ""
        while after is not None:
            query = selected(selection) | {"after": after, "limit": PAGE}
            text, after = self._client.read_lines("bulk", "export", query=query)
            yield text

    def _names(self, chosen: Chosen) -> Iterator[tuple[str, ...]]:
        """Yield names, as many as a request takes."""
        if chosen.names is None:
            after: str | None = ""
            while after is not None:
                query = selected(chosen.selection) | {"after": after, "limit": MAX_NAMES}
                page = self._client.ask("GET", "devices", kind=DevicePage, query=query)
                if page.items:
                    yield tuple(device.id for device in page.items)
                after = page.next
            return
        try:
            with chosen.names.open(encoding="utf-8-sig", errors="replace") as file:
                names = (line.strip()[:128] for line in file)
                wanted = (name for name in names if name)
                while chunk := tuple(itertools.islice(wanted, MAX_NAMES)):
                    yield chunk
        except OSError as error:
            raise ConfigError(f"{chosen.names}: {error.strerror}") from error


def _both(first: ManyOutcome, second: ManyOutcome) -> ManyOutcome:
    return ManyOutcome(
        done=first.done + second.done,
        passed_over=first.passed_over + second.passed_over,
        missing=first.missing + second.missing,
        examples=(*first.examples, *second.examples)[:100],
    )
