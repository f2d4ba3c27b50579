# SPDX-License-Identifier: Apache-2.0
"""node-oidc-provider with RFC 9068 tokens for resource indicators, and opaque ones to ask about.

Devices are clients whose registered scope holds their topics in Keyfob's native scopes, so that
the guard needs nothing but the issuer's name and audience. The server is ``oidc_provider.mjs``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.free_ports import free_port
from tests.interop.foreign.server import (
    AUDIENCE,
    KEYS_KEPT,
    ForeignServer,
    Kind,
    TokenRequest,
    running,
)
from tests.running import until

PROGRAM = Path(__file__).with_suffix(".mjs")
SECRET = "a-client-secret-that-is-only-for-tests"
GUARD = "broker-guard"
REDIRECT = "http://127.0.0.1:9/never-called"
SHORT_LIFE = 4

SETTINGS: list[str] = []
"""What oidc-provider needs beside issuer and audience: nothing, discovery and defaults do."""


class OidcProvider(ForeignServer):
    """A running oidc-provider.

    Attributes:
        introspection_endpoint: Where opaque tokens are asked about (RFC 7662).
        introspection_credentials: The client that may ask, and its secret.
    """

    name = "oidc-provider"
    id_token_refused = "type_refused"

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__()
        self.issuer = f"http://127.0.0.1:{port}"
        self.introspection_endpoint = f"{self.issuer}/token/introspection"
        self.introspection_credentials = (GUARD, SECRET)
        self.log_file = folder / "oidc-provider.log"
        self.state_file = folder / "oidc-provider.json"
        self.pid = 0
        self._reads = 1
        self._scopes: dict[str, str] = {}
        self._state: dict[str, Any] = {
            "port": port,
            "resources": [
                _resource("mqtt", AUDIENCE),
                _resource("opaque", AUDIENCE, form="opaque"),
                _resource("short", AUDIENCE, lifetime=SHORT_LIFE),
                _resource("billing", "billing"),
            ],
            # A client may be called what the audience is called; its ID tokens are for that then.
            "clients": [
                _client(GUARD, grant_types=[]),
                _client(
                    AUDIENCE,
                    grant_types=["authorization_code"],
                    response_types=["code"],
                    redirect_uris=[REDIRECT],
                ),
            ],
            "introspects": GUARD,
            "oldest": 0,
            "newest": 0,
            "used": 0,
        }
        self._write()

    def settings(self, *more: str) -> list[str]:
        head = ["[[issuer]]", 'name = "oidc-provider"', f'issuer = "{self.issuer}"']
        return [*head, f'audience = ["{AUDIENCE}"]', *SETTINGS, *more]

    def add(self, kind: Kind, *clients: str) -> None:
        for client in clients:
            if client in self._scopes:
                continue
            topics = {
                "sensor": [f"publish:devices/{client}/#", f"subscribe:commands/{client}/#"],
                "dashboard": ["subscribe:devices/+/temperature"],
            }[kind]
            self._scopes[client] = " ".join(["mqtt.connect", *(f"mqtt.{one}" for one in topics)])
            self._state["clients"].append(_client(client, scope=self._scopes[client]))
        scopes = " ".join(dict.fromkeys(" ".join(self._scopes.values()).split()))
        for resource in self._state["resources"]:
            resource["scope"] = scopes
        self._read_again()

    def token_request(self, client: str) -> TokenRequest:
        return self._request(client, "mqtt")

    def opaque(self, client: str) -> str:
        """Ask for an opaque token as a device does."""
        return self._answer(self._request(client, "opaque"))

    def revoke(self, client: str, token: str) -> None:
        """Revoke an opaque token (RFC 7009)."""
        request = self._request(client, "opaque")
        response = self.http.post(
            f"{request.url}/revocation", data={"token": token}, auth=request.credentials
        )
        assert response.status_code == 200, response.text

    def short_lived(self, client: str) -> str:
        self.add("sensor", client)
        return self._answer(self._request(client, "short"))

    def token_for_another_audience(self, client: str) -> str:
        self.add("sensor", client)
        return self._answer(self._request(client, "billing"))

    def id_token(self) -> tuple[str, str]:
        person = "person-who-is-called-like-a-device"
        verifier = secrets.token_urlsafe(32)
        form = {
            "grant_type": "authorization_code",
            "code": self._code(person, verifier),
            "redirect_uri": REDIRECT,
            "code_verifier": verifier,
        }
        request = TokenRequest(
            url=f"{self.issuer}/token", credentials=(AUDIENCE, SECRET), form=form
        )
        return self._answer(request, "id_token"), person

    def add_login(self, client: str, redirect_uri: str) -> str:
        """Register a client that signs people in; return its secret."""
        self._state["clients"].append(
            _client(
                client,
                grant_types=["authorization_code"],
                response_types=["code"],
                redirect_uris=[redirect_uri],
            )
        )
        self._read_again()
        return SECRET

    def publish_key(self) -> None:
        self._add_key()
        self._read_again()

    def use_key(self) -> None:
        self._state["used"] = self._state["newest"]
        self._read_again()

    def rotate_unannounced(self) -> None:
        self._add_key()
        self.use_key()

    def keys_asked(self) -> int:
        return self.log_file.read_text().count("keys asked\n")

    def _add_key(self) -> None:
        self._state["newest"] += 1
        self._state["oldest"] = max(0, self._state["newest"] + 1 - KEYS_KEPT)

    def _request(self, client: str, resource: str) -> TokenRequest:
        form = {"grant_type": "client_credentials", "scope": self._scopes[client]}
        form["resource"] = _uri(resource)
        return TokenRequest(url=f"{self.issuer}/token", credentials=(client, SECRET), form=form)

    def _code(self, person: str, verifier: str) -> str:
        """Log a person in and consent, through the pages that a browser would show."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        parameters = {
            "client_id": AUDIENCE,
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": REDIRECT,
            "code_challenge": challenge.decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        with httpx.Client(base_url=self.issuer, timeout=30, trust_env=False) as browser:
            response = browser.get("/auth", params=parameters)
            while not (place := response.headers.get("location", "")).startswith(REDIRECT):
                assert response.status_code < 400, response.text
                if place:
                    response = browser.get(place)
                    continue
                action = re.search(r'action="([^"]+)"', response.text)
                prompt = re.search(r'name="prompt" value="([^"]+)"', response.text)
                assert action is not None
                assert prompt is not None
                answers = {"prompt": prompt[1], "login": person, "password": "any"}
                response = browser.post(action[1], data=answers)
        return str(httpx.URL(place).params["code"])

    def _write(self) -> None:
        self.state_file.write_text(json.dumps(self._state), encoding="utf-8")

    def _read_again(self) -> None:
        self._write()
        self._reads += 1
        os.kill(self.pid, signal.SIGHUP)
        line = f"ready {self._reads}\n"
        until("oidc-provider has read its state again", lambda: line in self.log_file.read_text())


def _uri(resource: str) -> str:
    return f"urn:keyfob:{resource}"


def _resource(
    name: str, audience: str, *, form: str = "jwt", lifetime: int = 3600
) -> dict[str, Any]:
    return {
        "uri": _uri(name),
        "audience": audience,
        "scope": "mqtt.connect",
        "format": form,
        "lifetime": lifetime,
    }


def _client(name: str, **metadata: Any) -> dict[str, Any]:
    values = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    return {"client_id": name, "client_secret": SECRET, **values, **metadata}


@contextlib.contextmanager
def oidc_provider(modules: Path, folder: Path) -> Iterator[OidcProvider]:
    """Run oidc-provider; its log and its state go to ``folder``."""
    server = OidcProvider(free_port(), folder)
    command = ["node", str(PROGRAM), str(modules), str(server.state_file)]
    try:
        with running(command, server.log_file, "ready 1\n") as process:
            server.pid = process.pid
            yield server
    finally:
        server.http.close()
