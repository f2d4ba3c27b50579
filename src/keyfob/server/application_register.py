# SPDX-License-Identifier: Apache-2.0
"""The applications of the register: OAuth clients through which devices get tokens."""

from __future__ import annotations

from collections.abc import Callable

from keyfob.errors import ConfigError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_keys import client_jwks
from keyfob.server.client_register import ClientRegister
from keyfob.server.clients import (
    DEVICE_CODE,
    KIND_GRANTS,
    REFRESH_TOKEN,
    Application,
    ClientKind,
    IssuedApplication,
)
from keyfob.server.credentials import generate_secret
from keyfob.server.wishes import ApplicationWish

__all__ = ["ApplicationRegister"]


class ApplicationRegister(ClientRegister):
    """What ``Register`` does with applications."""

    def add_application(self, application: ApplicationWish | str) -> IssuedApplication:
        """Register an application and return it with its secret, which is not kept.

        Args:
            application: What it is to be; a name alone: confidential, for the password grant.

        Raises:
            ConfigError: Name, metadata, keys or certificate are not allowed, or it is public and
                has some.
            ConflictError: There is a client of this name.
        """
        wish = ApplicationWish(application) if isinstance(application, str) else application
        with self._recorded("application.add", wish.id):
            keys, metadata = wish.checked_keys()
            if wish.public and wish.has_keys:
                raise ConfigError(
                    "a public application has neither secret nor keys nor certificate"
                )
            secret = None if wish.public or wish.has_keys else generate_secret()
            grants = (DEVICE_CODE,) if wish.device_code else KIND_GRANTS[ClientKind.APPLICATION]
            grants += (REFRESH_TOKEN,) if wish.refresh else ()
            client = self._add(
                wish.id,
                ClientKind.APPLICATION,
                secret,
                grants=grants,
                jwks=keys,
                metadata=metadata,
            )
        return IssuedApplication(application=Application.of(client), secret=secret)

    def list_applications(self) -> tuple[Application, ...]:
        """Return every application, by name."""
        return tuple(map(Application.of, self._store.clients(ClientKind.APPLICATION)))

    def application_page(self, *, after: str, limit: int) -> tuple[Application, ...]:
        """Return the applications that follow a name, by name."""
        page = self._store.client_page(ClientKind.APPLICATION, after=after, limit=limit)
        return tuple(map(Application.of, page))

    def show_application(self, client_id: str) -> Application:
        """Return one application.

        Raises:
            NotFoundError: There is none of this name.
        """
        return Application.of(self._found(client_id, ClientKind.APPLICATION))

    def set_application_jwks(
        self, client_id: str, jwks: bytes, *, remove_secret: bool = False
    ) -> Application:
        """Give an application other public keys; those before stop at once.

        Args:
            client_id: Its name.
            jwks: All that it has from now on; see ``client_keys``.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The keys are not allowed, or it is public.
        """
        with self._recorded("application.set-jwks", client_id):
            keys = client_jwks(jwks)
            with self._store.transaction():
                known = self._found(client_id, ClientKind.APPLICATION)
                if known.public:
                    raise ConfigError("a public application has neither a secret nor keys")
                self._store.set_jwks(client_id, keys)
                if remove_secret:
                    self._store.remove_secret(client_id)
        return Application.of(known)

    def set_application_certificate(
        self,
        client_id: str,
        certificate: CertificateIdentity | None = None,
        *,
        bound: bool | None = None,
        remove_secret: bool = False,
    ) -> Application:
        """Give an application another certificate; the one before stops at once.

        Args:
            client_id: Its name.
            certificate: What it has to be; an empty one takes it away, None leaves it.
            bound: Whether its tokens are bound to its certificate; None leaves it.
            remove_secret: Whether its secret stops, too.

        Raises:
            NotFoundError: There is none of this name.
            ConfigError: The certificate is not allowed, the application is public, or it would
                have nothing to prove itself.
        """
        with self._recorded("application.set-certificate", client_id):
            client = self._set_certificate(
                *(client_id, ClientKind.APPLICATION, certificate),
                bound=bound,
                remove_secret=remove_secret,
            )
        return Application.of(client)

    def remove_application(
        self, client_id: str, *, proven: Callable[[], object] = lambda: None
    ) -> None:
        """Forget an application and its refresh tokens; access tokens end in their own time.

        Args:
            client_id: Its name.
            proven: Asked within the transaction; what it raises leaves everything as it is.

        Raises:
            NotFoundError: There is none of this name.
        """
        with self._recorded("application.remove", client_id):
            self._remove(client_id, ClientKind.APPLICATION, proven=proven)
