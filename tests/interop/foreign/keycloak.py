# SPDX-License-Identifier: Apache-2.0
"""Keycloak as an administrator sets it up for devices: clients with service accounts and roles.

The realm has the client scope ``mqtt.connect`` among its defaults, whose audience mapper adds
``mqtt``. What a device may do is a realm role of its service account.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.free_ports import free_port
from tests.interop.foreign.server import (
    AUDIENCE,
    KEYS_KEPT,
    ForeignServer,
    Kind,
    TokenRequest,
    running,
)
from tests.server.certificates import Authority

REALM = "iot"
ADMIN = ("tests-admin", "only-for-tests")
SECRET = "a-client-secret-that-is-only-for-tests"
SHORT_LIFE = 4
FIRST_PRIORITY = 100  # that of the key that a realm is born with

SETTINGS = [
    'preset = "keycloak"',
    "rights = []",  # roles say what a device may do, and nothing else
]
"""What Keycloak needs beside issuer and audience."""

POLICY = [
    "[[issuer.policy]]",
    'claim = "realm_access.roles"',
    'value = "sensor"',
    'publish = ["devices/{device}/#"]',
    'subscribe = ["commands/{device}/#"]',
    "[[issuer.policy]]",
    'claim = "realm_access.roles"',
    'value = "dashboard"',
    'subscribe = ["devices/+/temperature"]',
]


class Keycloak(ForeignServer):
    """A running Keycloak with one realm.

    Attributes:
        keys_url: Where its keys are, by TLS; for those who insist on that.
        ca: The certificate by which that is trusted.
        pid: Its process group.
    """

    name = "keycloak"
    id_token_refused = "type_refused"  # by the claim typ, "ID"; the header says "JWT" for both

    def __init__(self, origin: str, log_file: Path) -> None:
        super().__init__()
        self.keys_url = ""
        self.ca = Path()
        self.pid = 0
        self.issuer = f"{origin}/realms/{REALM}"
        self._origin = origin
        self._log_file = log_file
        self._priority = FIRST_PRIORITY
        self._published: list[dict[str, Any]] = []
        self._clients: set[str] = set()
        self._scopes: set[str] = set()
        self._set_up()

    def settings(self, *more: str) -> list[str]:
        head = ["[[issuer]]", 'name = "keycloak"', f'issuer = "{self.issuer}"']
        return [*head, f'audience = ["{AUDIENCE}"]', *SETTINGS, *more, *POLICY]

    def add(self, kind: Kind, *clients: str) -> None:
        role = self._admin("GET", f"/roles/{kind}").json()
        for client in clients:
            self._add_client(client, role)

    def add_with_scopes(self, client: str, scopes: Sequence[str], lifetime: int) -> None:
        """Register a device whose tokens carry just these scopes, and live so many seconds."""
        for scope in scopes:
            if scope not in self._scopes:
                self._scopes.add(scope)
                self._add_scope(scope, AUDIENCE)
        # Its own identifier is in every token, as azp; nothing else is asked for.
        attributes = {"access.token.lifespan": str(lifetime)}
        self._add_client(client, attributes=attributes, scopes=["basic", *scopes])

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Let it answer nobody."""
        os.killpg(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.pid, signal.SIGCONT)

    def token_request(self, client: str) -> TokenRequest:
        return TokenRequest(
            url=f"{self.issuer}/protocol/openid-connect/token",
            credentials=(client, SECRET),
            form={"grant_type": "client_credentials"},
        )

    def short_lived(self, client: str) -> str:
        self._add_client(client, attributes={"access.token.lifespan": str(SHORT_LIFE)})
        return self.token(client)

    def token_for_another_audience(self, client: str) -> str:
        self._add_client(client, scopes=["basic", "roles", "billing"])
        return self.token(client)

    def id_token(self) -> tuple[str, str]:
        self._add_client(AUDIENCE)
        request = self.token_request(AUDIENCE)
        form = {**request.form, "scope": "openid"}
        request = TokenRequest(url=request.url, credentials=request.credentials, form=form)
        return self._answer(request, "id_token"), AUDIENCE

    def publish_key(self) -> None:
        self._add_key(1)

    def use_key(self) -> None:
        self._priority += 1
        key = self._published[-1]
        key["config"]["priority"] = [str(self._priority)]
        self._admin("PUT", f"/components/{key['id']}", key)

    def rotate_unannounced(self) -> None:
        self._priority += 1
        self._add_key(self._priority)

    def keys_asked(self) -> int:
        return self._log_file.read_text().count("/protocol/openid-connect/certs ")

    def _set_up(self) -> None:
        roles = {"realm": [{"name": "sensor"}, {"name": "dashboard"}]}
        realm = {"realm": REALM, "enabled": True, "accessTokenLifespan": 3600, "roles": roles}
        self._admin("POST", "", realm, realm="")
        scope = self._add_scope("mqtt.connect", AUDIENCE)
        self._admin("PUT", f"/default-default-client-scopes/{scope}")
        self._add_scope("billing", "billing")
        self._realm_id = self._admin("GET", "").json()["id"]

    def _add_scope(self, name: str, audience: str) -> str:
        mapper = {
            "name": "audience",
            "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": {"included.custom.audience": audience, "access.token.claim": "true"},
        }
        return self._made(
            "/client-scopes",
            {
                "name": name,
                "protocol": "openid-connect",
                "attributes": {"include.in.token.scope": "true"},
                "protocolMappers": [mapper],
            },
        )

    def _add_client(
        self,
        client: str,
        role: dict[str, Any] | None = None,
        *,
        attributes: dict[str, str] | None = None,
        scopes: list[str] | None = None,
    ) -> None:
        values = {
            "clientId": client,
            "secret": SECRET,
            "serviceAccountsEnabled": True,
            "standardFlowEnabled": False,
            "attributes": attributes or {},
            **({} if scopes is None else {"defaultClientScopes": scopes}),
        }
        if client in self._clients:
            return
        self._clients.add(client)
        made = self._made("/clients", values)
        if role is not None:
            user = self._admin("GET", f"/clients/{made}/service-account-user").json()["id"]
            self._admin("POST", f"/users/{user}/role-mappings/realm", [role])

    def _add_key(self, priority: int) -> None:
        key = {
            "name": f"rsa-{secrets.token_hex(4)}",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": self._realm_id,
            "config": {"priority": [str(priority)], "algorithm": ["RS256"], "keySize": ["2048"]},
        }
        self._published.append({**key, "id": self._made("/components", key)})
        if len(self._published) > KEYS_KEPT:
            self._admin("DELETE", f"/components/{self._published.pop(0)['id']}")

    def _made(self, path: str, values: dict[str, Any]) -> str:
        return str(self._admin("POST", path, values).headers["location"]).rsplit("/", 1)[-1]

    def _admin(self, method: str, path: str, body: Any = None, *, realm: str = f"/{REALM}") -> Any:
        # Asked for anew each time: it lives a minute only.
        token = self._answer(
            TokenRequest(
                url=f"{self._origin}/realms/master/protocol/openid-connect/token",
                credentials=ADMIN,
                form={"grant_type": "client_credentials"},
            )
        )
        response = self.http.request(
            method,
            f"{self._origin}/admin/realms{realm}{path}",
            json=body,
            headers={"Authorization": f"Bearer {token}"},
        )
        assert response.is_success, (method, path, response.text)
        return response


@contextlib.contextmanager
def keycloak(home: Path, folder: Path) -> Iterator[Keycloak]:
    """Run Keycloak; its log goes to ``folder``, its data are in memory."""
    origin, log_file = f"http://127.0.0.1:{(port := free_port())}", folder / "keycloak.log"
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    authority = Authority(folder)
    authority.certify(certificate, key)
    command = [str(home / "bin" / "kc.sh"), "start", "--optimized", "--http-enabled=true"]
    command += ["--http-host=127.0.0.1", f"--http-port={port}", f"--hostname={origin}"]
    command += ["--http-access-log-enabled=true", f"--https-port={(secure_port := free_port())}"]
    command += [f"--https-certificate-file={certificate}", f"--https-certificate-key-file={key}"]
    environment = {
        "KC_BOOTSTRAP_ADMIN_CLIENT_ID": ADMIN[0],
        "KC_BOOTSTRAP_ADMIN_CLIENT_SECRET": ADMIN[1],
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
    }
    with running(command, log_file, "Listening on:", environment) as process:
        server = Keycloak(origin, log_file)
        server.pid = process.pid
        server.keys_url = (
            f"https://localhost:{secure_port}/realms/{REALM}/protocol/openid-connect/certs"
        )
        server.ca = authority.ca
        try:
            yield server
        finally:
            server.http.close()
