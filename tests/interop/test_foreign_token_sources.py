# SPDX-License-Identifier: Apache-2.0
"""A device's token source at authorization servers of others."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyfob.device import ClientSecretBasic, ClientSecretPost, FileStore, Freshness, TokenSource
from keyfob.errors import TokenRequestError
from tests.interop.foreign.server import ForeignServer

pytestmark = pytest.mark.interop


def claims(access_token: str) -> dict[str, Any]:
    payload = access_token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def source_of(foreign: ForeignServer, device: str, **changes: Any) -> TokenSource:
    """What a device of that server is configured with: the issuer finds the rest."""
    foreign.add("sensor", device)
    request = foreign.token_request(device)
    client_id, client_secret = request.credentials
    values: dict[str, Any] = {
        "auth": ClientSecretBasic(client_id=client_id, client_secret=client_secret),
        "scope": request.form.get("scope", ""),
        "resource": request.form.get("resource", ""),
    }
    return TokenSource(foreign.issuer, **(values | changes))


def test_a_foreign_server_is_found_by_its_issuer_and_gives_tokens(
    foreign: ForeignServer, fresh: Callable[[str], str], tmp_path: Path
) -> None:
    device, store = fresh("sensor"), FileStore(tmp_path / "token")
    source = source_of(foreign, device, store=store)
    first = source.get()
    said = claims(first.access_token)
    assert said["iss"] == foreign.issuer
    assert abs(said["exp"] - said["iat"] - first.lifetime) <= 1
    assert source.state is Freshness.FRESH
    second = source.renew().result(30)
    assert second.access_token != first.access_token
    assert source_of(foreign, device, store=store).token == second


def test_a_foreign_server_refuses_in_words_that_are_understood(
    foreign: ForeignServer, fresh: Callable[[str], str]
) -> None:
    device = fresh("sensor")
    auth = ClientSecretPost(client_id=device, client_secret="wrong")
    with pytest.raises(TokenRequestError) as caught:
        source_of(foreign, device, auth=auth).get()
    assert caught.value.error in {"invalid_client", "unauthorized_client"}
