# SPDX-License-Identifier: Apache-2.0
"""Token exchange with tokens that are bound to keys, and with opaque ones."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.server.client_metadata import ClientMetadata
from keyfob.tokens.keys import thumbprint
from keyfob.tokens.sign import SigningKey
from tests.server.granting import ACCESS_TOKEN, TOKEN_EXCHANGE, Fleet
from tests.server.proofs import ask, claims_for, nonce_of, post, public_jwk, signed
from tests.server.world import World

pytestmark = pytest.mark.anyio

KEY, OTHER = SigningKey.generate(), SigningKey.generate()


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


async def exchange(fleet: Fleet, token: str, proof: str | None) -> Any:
    form = {
        "grant_type": TOKEN_EXCHANGE,
        "client_id": "gw",
        "client_secret": fleet.secret,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "requested_subject": "gw-1",
    }
    return await post(fleet.world, [] if proof is None else proof, form)


async def test_a_token_that_is_bound_to_a_key_is_exchanged_with_a_proof_of_that_key_alone(
    fleet: Fleet,
) -> None:
    world, gateway = fleet.world, ("gw", fleet.secret)

    async def proof(key: SigningKey) -> str:
        nonce = await nonce_of(world, gateway)
        return signed(key, claims_for(world.clock.now, nonce=nonce))

    token = (await ask(world, await proof(KEY), gateway)).json()["access_token"]
    for wrong in (None, await proof(OTHER)):
        answer = await exchange(fleet, token, wrong)
        assert answer.json()["error"] == "invalid_request"
        assert world.events[-1].reason == "confirmation_unproven"
    answer = await exchange(fleet, token, await proof(KEY))
    assert answer.json()["token_type"] == "DPoP"
    claims = await fleet.claims(answer)
    assert (claims["sub"], claims["cnf"]) == ("gw-1", {"jkt": thumbprint(public_jwk(KEY))})


async def test_opaque_tokens_are_exchanged_and_end_as_signed_ones_do(fleet: Fleet) -> None:
    world = fleet.world
    world.register.set_device_tokens("gw", ClientMetadata(access_token_format="opaque"))
    token = await fleet.gateway_token()
    assert token.startswith("kfa_")
    answer = await fleet.exchange(token)
    assert answer.status_code == 200, answer.text
    exchanged = answer.json()["access_token"]
    assert exchanged.startswith("kfa_")
    _, asker = world.register.add_service("asker", scopes=["keyfob.introspection"])

    async def told() -> Any:
        form = {"token": exchanged, "client_id": "asker", "client_secret": asker}
        return (await world.http.post("/oauth2/introspect", data=form)).json()

    document = await told()
    assert (document["active"], document["sub"], document["act"]) == (True, "gw-1", {"sub": "gw"})
    world.register.disable_device("gw")
    assert await told() == {"active": False}
