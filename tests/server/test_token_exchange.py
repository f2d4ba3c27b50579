# SPDX-License-Identifier: Apache-2.0
"""Token exchange (RFC 8693): a gateway gets its sub-devices tokens, never wider, never longer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from keyfob.errors import ConfigError, NotFoundError
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import claims_for, jwks_of, signed
from tests.server.granting import ACCESS_TOKEN, JWT, KEY, Fleet
from tests.server.world import World

pytestmark = pytest.mark.anyio


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


def statement(fleet: Fleet, device: str = "gw-1", *, key: SigningKey = KEY, **changes: Any) -> str:
    claims = claims_for(fleet.world.clock.now, "gw", sub=device) | changes
    return signed(key, {name: value for name, value in claims.items() if value is not None})


async def by_statement(fleet: Fleet, subject: str, **more: Any) -> Any:
    token = await fleet.gateway_token()
    changes = {
        "subject_token_type": JWT,
        "requested_subject": None,
        "actor_token": token,
        "actor_token_type": ACCESS_TOKEN,
    } | more
    return await fleet.exchange(subject, **changes)


async def test_the_token_is_the_sub_devices_got_by_the_client_through_the_gateway(
    fleet: Fleet,
) -> None:
    answer = await fleet.exchange(await fleet.gateway_token())
    document = answer.json()
    assert document["issued_token_type"] == ACCESS_TOKEN
    assert document["token_type"] == "Bearer"
    assert "refresh_token" not in document
    claims = await fleet.claims(answer)
    assert (claims["sub"], claims["client_id"], claims["act"]) == ("gw-1", "gw", {"sub": "gw"})
    assert claims["aud"] == "mqtt"


async def test_it_holds_what_both_are_registered_for_and_no_more(fleet: Fleet) -> None:
    claims = await fleet.claims(await fleet.exchange(await fleet.gateway_token()))
    # Not news/#, which the gateway has not, nor fleet.read, which the device has not.
    assert claims["scope"].split() == [
        "mqtt.connect",
        "mqtt.publish:site/gw-1/#",
        "mqtt.subscribe:site/gw-1/cmd",
    ]


async def test_a_narrower_gateway_token_gives_a_narrower_token(fleet: Fleet) -> None:
    token = await fleet.gateway_token(scope="mqtt.connect mqtt.publish:site/gw-1/t")
    claims = await fleet.claims(await fleet.exchange(token))
    assert claims["scope"].split() == ["mqtt.connect", "mqtt.publish:site/gw-1/t"]
    answer = await fleet.exchange(token, scope="mqtt.publish:site/gw-1/other")
    assert answer.json()["error"] == "invalid_scope"


async def test_it_ends_with_the_gateways_token(fleet: Fleet) -> None:
    token = await fleet.gateway_token()
    fleet.world.clock.now += 3_000
    claims = await fleet.claims(await fleet.exchange(token))
    assert claims["exp"] - claims["iat"] == 600
    fleet.world.clock.now += 600
    assert (await fleet.exchange(token)).json()["error"] == "invalid_request"


async def test_a_statement_that_the_gateway_signed_names_the_sub_device_once(
    fleet: Fleet,
) -> None:
    text = statement(fleet)
    answer = await by_statement(fleet, text, scope="mqtt.publish:site/other/#")
    assert answer.json()["error"] == "invalid_scope"  # which uses nothing up
    claims = await fleet.claims(await by_statement(fleet, text))
    assert (claims["sub"], claims["act"]) == ("gw-1", {"sub": "gw"})
    assert (await by_statement(fleet, text)).json()["error"] == "invalid_request"
    assert fleet.world.events[-1].reason == "statement_replayed"


async def test_with_the_sub_devices_own_token_that_one_bounds_it_too(fleet: Fleet) -> None:
    own = await fleet.world.device_token(
        "gw-1", fleet.sub_secret, scope="mqtt.connect mqtt.publish:site/gw-1/a"
    )
    fleet.world.clock.now += 100
    answer = await by_statement(fleet, own.json()["access_token"], subject_token_type=ACCESS_TOKEN)
    claims = await fleet.claims(answer)
    assert claims["scope"].split() == ["mqtt.connect", "mqtt.publish:site/gw-1/a"]
    assert claims["exp"] - claims["iat"] == 3_500


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "other"}, "not_its_sub_device"),
        ({"device": "no-such-device"}, "not_its_sub_device"),
        ({"device": "gw-unknown"}, "sub_device_unknown"),
        ({"device": "gw"}, "not_its_sub_device"),
        ({"device": "gw-1/#"}, "sub_device_unknown"),
        ({"device": "gw-off"}, "sub_device_disabled"),
        ({"device": "gw-app"}, "sub_device_unknown"),
        ({"device": None}, "sub_device_not_named"),
        ({"subject_token": "kfr_x"}, "shown_token_not_good"),
        ({"subject_token": "x.y.z"}, "shown_token_not_good"),
        ({"subject_token": None}, "parameter_missing"),
        ({"subject_token_type": None}, "parameter_missing"),
        ({"subject_token_type": JWT}, "token_type_other"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"},
         "token_type_other"),
        ({"actor_token_type": ACCESS_TOKEN}, "parameter_missing"),
        ({"actor_token": "x.y.z"}, "parameter_missing"),
        ({"actor_token": "x.y.z", "actor_token_type": ACCESS_TOKEN}, "sub_device_not_named"),
        ({"requested_token_type": JWT}, "requested_token_type_unknown"),
    ],
)  # fmt: skip
async def test_whatever_else_is_shown_or_named_is_refused_by_one_error(
    fleet: Fleet, changes: dict[str, Any], reason: str
) -> None:
    fleet.world.register.add_device(DeviceWish("gw-off", rights=Rights(publish=["site/#"])))
    fleet.world.register.disable_device("gw-off")
    fleet.world.register.add_application("gw-app")
    answer = await fleet.exchange(await fleet.gateway_token(), **changes)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert fleet.world.events[-1].reason == reason


async def test_unknown_disabled_and_anothers_sub_devices_are_one_answer(fleet: Fleet) -> None:
    fleet.world.register.add_device(DeviceWish("gw-off", rights=Rights(publish=["site/#"])))
    fleet.world.register.disable_device("gw-off")
    token = await fleet.gateway_token()
    answers = [await fleet.exchange(token, name) for name in ("gw-off", "gw-unknown", "other")]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1


STRANGER = SigningKey.generate()


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "gw-1"}, "statement_claims"),
        ({"sub": "gw"}, "not_its_sub_device"),
        ({"sub": "other"}, "not_its_sub_device"),
        ({"sub": "a/b"}, "statement_claims"),
        ({"jti": None}, "statement_claims"),
        ({"exp": None}, "statement_malformed"),
        ({"exp": 1_700_000_000}, "statement_expired"),
        ({"exp": 1_900_000_000}, "statement_exp_too_far"),
        ({"aud": "https://other.example"}, "statement_aud_refused"),
        ({"key": STRANGER}, "statement_key_unknown"),
        ({"events": {}}, "statement_typ_refused"),
    ],
)
async def test_a_statement_that_is_not_good_is_refused(
    fleet: Fleet, changes: dict[str, Any], reason: str
) -> None:
    answer = await by_statement(fleet, statement(fleet, **changes))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert fleet.world.events[-1].reason == reason


async def test_a_client_assertion_is_no_statement_and_the_other_way_round(fleet: Fleet) -> None:
    text = signed(
        KEY, claims_for(fleet.world.clock.now, "gw", sub="gw-1"), typ="client-authentication+jwt"
    )
    assert (await by_statement(fleet, text)).json()["error"] == "invalid_request"
    answer = await fleet.exchange(
        await fleet.gateway_token(),
        client_secret=None,
        client_assertion=statement(fleet),
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    )
    assert answer.json()["error"] == "invalid_client"


async def test_a_token_is_exchanged_by_the_client_that_it_was_issued_to_alone(
    fleet: Fleet,
) -> None:
    thief = fleet.world.register.add_device(
        DeviceWish("thief", rights=Rights(publish=["site/#"]))
    ).secret
    fleet.world.register.allow_grant("thief", "token-exchange", act_for=["gw-*"])
    answer = await fleet.exchange(
        await fleet.gateway_token(), client_id="thief", client_secret=thief
    )
    assert answer.json()["error"] == "invalid_request"
    assert fleet.world.events[-1].reason == "token_of_other_client"


async def test_what_is_no_name_stays_out_of_the_audit(fleet: Fleet) -> None:
    thief = fleet.world.register.add_device(
        DeviceWish("thief", rights=Rights(publish=["site/#"]))
    ).secret
    fleet.world.register.allow_grant("thief", "token-exchange", act_for=["gw-*"])
    await fleet.exchange(
        await fleet.gateway_token(), "gw-1\nforged", client_id="thief", client_secret=thief
    )
    event = fleet.world.events[-1]
    assert (event.reason, event.subject) == ("token_of_other_client", "?")


async def test_a_client_that_is_not_registered_for_it_may_not(fleet: Fleet) -> None:
    token = await fleet.gateway_token()
    fleet.world.register.withdraw_grant("gw", "token-exchange")
    assert (await fleet.exchange(token)).json()["error"] == "unauthorized_client"


async def test_an_application_exchanges_what_it_got_for_a_gateway(fleet: Fleet) -> None:
    register = fleet.world.register
    application = register.add_application("app")
    register.allow_grant("app", "token-exchange")
    got = await fleet.world.token(
        auth=("app", str(application.secret)),
        grant_type="password",
        username="gw",
        password=fleet.secret,
    )
    answer = await fleet.exchange(
        got.json()["access_token"], client_id="app", client_secret=str(application.secret)
    )
    claims = await fleet.claims(answer)
    assert (claims["sub"], claims["client_id"], claims["act"]) == ("gw-1", "app", {"sub": "gw"})


async def test_a_chain_of_gateways_is_told_and_ends_somewhere(fleet: Fleet) -> None:
    register = fleet.world.register
    for number in range(1, 6):
        name = "gw-1" if number == 1 else f"gw-1-{number}"
        if number > 1:
            register.add_device(DeviceWish(name, rights=Rights(publish=["site/gw-1/#"])))
        register.allow_grant(name, "token-exchange", act_for=[f"gw-1-{number + 1}"])
    token = await fleet.gateway_token()
    actors: list[Any] = []
    for name in ("gw-1", "gw-1-2", "gw-1-3"):
        answer = await fleet.exchange(token, name)
        actors.append((await fleet.claims(answer))["act"])
        token = answer.json()["access_token"]
    assert actors[-1] == {"sub": "gw-1-2", "act": {"sub": "gw-1", "act": {"sub": "gw"}}}
    answer = await fleet.exchange(token, "gw-1-4")
    assert answer.json()["error"] == "invalid_request"
    assert fleet.world.events[-1].reason == "too_many_actors"


async def test_a_bound_token_needs_its_proof(fleet: Fleet) -> None:
    bound = fleet.world.keyring.signing_key(fleet.world.clock.now)
    now = int(fleet.world.clock.now)
    shown: list[dict[str, object]] = [
        {"jkt": "x" * 43}, {"x5t#S256": "y" * 43}, {"jwk": {}}, {"kid": "a"},
    ]  # fmt: skip
    for confirmation in shown:
        claims = {
            "iss": fleet.world.settings.issuer, "sub": "gw", "client_id": "gw", "aud": "mqtt",
            "iat": now, "exp": now + 60, "jti": "j", "scope": "mqtt.connect", "cnf": confirmation,
        }  # fmt: skip
        answer = await fleet.exchange(bound.sign(claims, typ="at+jwt"))
        assert answer.json()["error"] == "invalid_request"
        assert fleet.world.events[-1].reason == "confirmation_unproven"


async def test_details_of_the_gateways_token_go_on_with_their_brokers(fleet: Fleet) -> None:
    detail = {
        "type": "mqtt", "locations": ["mqtts://a.example"], "actions": ["publish"],
        "topics": ["site/gw-1/t", "site/other"],
    }  # fmt: skip
    token = await fleet.gateway_token(authorization_details=json.dumps([detail]))
    mine = {**detail, "topics": ["site/gw-1/t"]}
    answer = await fleet.exchange(token)
    assert answer.json()["authorization_details"] == [mine]
    assert answer.json()["scope"] == "mqtt.connect"
    anywhere = {name: value for name, value in mine.items() if name != "locations"}
    answer = await fleet.exchange(token, authorization_details=json.dumps([anywhere]))
    assert answer.json()["error"] == "invalid_authorization_details"


async def test_a_sub_devices_token_that_was_exchanged_itself_is_no_subject(fleet: Fleet) -> None:
    first = (await fleet.exchange(await fleet.gateway_token())).json()["access_token"]
    answer = await by_statement(fleet, first, subject_token_type=ACCESS_TOKEN)
    assert answer.json()["error"] == "invalid_request"
    assert fleet.world.events[-1].reason == "subject_token_exchanged"


async def test_what_is_common_has_to_fit_into_a_token(fleet: Fleet) -> None:
    register = fleet.world.register
    secret = register.add_device(
        DeviceWish(
            "wide", rights=Rights(publish=["a/#", *(f"b/{number}" for number in range(100))])
        )
    ).secret
    register.allow_grant("wide", "token-exchange", act_for=["wide-1"])
    register.add_device(
        DeviceWish(
            "wide-1", rights=Rights(publish=["b/#", *(f"a/{number}" for number in range(100))])
        )
    )
    token = (await fleet.world.device_token("wide", secret)).json()["access_token"]
    who = {"client_id": "wide", "client_secret": secret}
    answer = await fleet.exchange(token, "wide-1", **who)
    assert answer.json()["error"] == "invalid_scope"
    answer = await fleet.exchange(token, "wide-1", scope="mqtt.publish:a/7", **who)
    assert answer.json()["scope"] == "mqtt.publish:a/7"


async def test_of_many_who_show_one_statement_at_once_one_is_served(fleet: Fleet) -> None:
    text, token = statement(fleet), await fleet.gateway_token()
    more: dict[str, Any] = {
        "subject_token_type": JWT, "requested_subject": None, "actor_token": token,
        "actor_token_type": ACCESS_TOKEN,
    }  # fmt: skip
    answers = await asyncio.gather(*(fleet.exchange(text, **more) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 9]


# Registration


async def test_who_may_be_registered_for_what(fleet: Fleet) -> None:
    register = fleet.world.register
    register.add_application(ApplicationWish("open", public=True))
    register.add_application("app")
    register.add_service("asker", scopes=["keyfob.introspection"])
    wrong: list[tuple[str, str, list[str] | None, type[Exception]]] = [
        ("open", "token-exchange", None, ConfigError),
        ("app", "token-exchange", ["gw-*"], ConfigError),
        ("gw", "jwt-bearer", ["gw-*"], ConfigError),
        ("gw", "password", None, ConfigError),
        ("gw", "token-exchange", ["*"], ConfigError),
        ("gw", "token-exchange", ["a*b*"], ConfigError),
        ("gw", "token-exchange", ["a/b"], ConfigError),
        ("gw", "token-exchange", [f"d{number}" for number in range(129)], ConfigError),
        ("asker", "client_credentials", None, NotFoundError),
        ("nobody", "jwt-bearer", None, NotFoundError),
    ]
    for name, grant, act_for, error in wrong:
        with pytest.raises(error):
            register.allow_grant(name, grant, act_for=act_for)
    assert register.show_grants("gw").may_act_for == ("gw-*", "extra")
    assert register.allow_grant("gw", "token-exchange").may_act_for == ("gw-*", "extra")
    assert register.withdraw_grant("gw", "token-exchange").may_act_for == ()
    assert register.set_device_jwks("gw", jwks_of(KEY)).id == "gw"
