# SPDX-License-Identifier: Apache-2.0
"""The register as a running server changes it for others: in a thread with its own connection.

Beside the thread that the token endpoint writes through, so that a list of a thousand devices, or a
new RSA key, keeps no device waiting.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from keyfob.errors import UpstreamError
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register
from keyfob.server.registration.initial_tokens import RegistrationTokens
from keyfob.server.registration.registrar import Registrar
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.stores.store import Store
from keyfob.server.stores.writer import Writer

__all__ = ["RegisterThread", "Registers"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Registers:
    """All that operators change, by one of them."""

    register: Register
    keys: KeyRegister
    registration_tokens: RegistrationTokens
    operators: OperatorRegister
    receivers: ReceiverRegister


class RegisterThread:
    """Does work on the register; what it changed is on the disk when it returns.

    Args:
        writer: Its own, which is closed with it.
        settings: The server's.
        clock: Unix seconds.
    """

    def __init__(
        self, writer: Writer, settings: ServerSettings, clock: Callable[[], float]
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._clock = clock

    async def with_registers(self, actor: str, work: Callable[[Registers], _T]) -> _T:
        """Do what an operator's program asks for.

        Args:
            actor: Who asks, for the trail.
            work: What is done.

        Raises:
            KeyfobError: It cannot be done; the trail says so. ``UpstreamError`` where the database
                stayed locked, or the disk is full.
        """
        template, clock = self._settings.client_id_template, self._clock
        sealer = self._settings.signing.sealer

        def done(store: Store) -> _T:
            return work(
                Registers(
                    register=Register(store, client_id_template=template, clock=clock, actor=actor),
                    keys=KeyRegister(store, self._settings.signing, clock=clock, actor=actor),
                    registration_tokens=RegistrationTokens(
                        store, client_id_template=template, clock=clock, actor=actor
                    ),
                    operators=OperatorRegister(store, clock=clock, actor=actor),
                    receivers=ReceiverRegister(store, sealer, clock=clock, actor=actor),
                )
            )

        return await self._handed_over(done)

    async def with_registrar(self, work: Callable[[Registrar], _T]) -> _T:
        """Do what a client asks for that registers itself.

        Raises:
            OAuthError: It is refused.
            UpstreamError: The database stayed locked, or the disk is full.
        """
        template, clock = self._settings.client_id_template, self._clock
        return await self._handed_over(
            lambda store: work(Registrar(store, client_id_template=template, clock=clock))
        )

    async def _handed_over(self, work: Callable[[Store], _T]) -> _T:
        try:
            return await self._writer.hand_over(work)
        except sqlite3.OperationalError as error:  # where it only read
            raise UpstreamError(f"the register: {error}") from error

    async def close(self) -> None:
        """Finish what was begun."""
        await asyncio.to_thread(self._writer.close)
