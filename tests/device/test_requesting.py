# SPDX-License-Identifier: Apache-2.0
"""What is asked of an authorization server, step by step; answered by hand."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from keyfob.device.flow import Answer, Exchange, Pause
from keyfob.device.grants import (
    ClientCredentials,
    DeviceCode,
    Grant,
    Invitation,
    JWTBearer,
    Password,
    RefreshToken,
)
from keyfob.device.requesting import METADATA_FRESH, Requesting, Wish
from keyfob.device.token import Token
from keyfob.errors import ConfigError, TokenRequestError, TokenUnavailableError
from keyfob.oauth.client_authentication import NoClient, PublicClient
from keyfob.tokens.sign import SigningKey
from tests.device.world import SECRET, SetClock, answer, forms, token_of, told

ISSUER = "https://as.example/realm"
ENDPOINT = "https://as.example/token"
METADATA = {
    "issuer": ISSUER,
    "token_endpoint": ENDPOINT,
    "device_authorization_endpoint": "https://as.example/device",
    "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.as.example/token"},
}
GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 60}
AWAY = TokenUnavailableError("away")


def requesting(clock: SetClock, **changes: Any) -> Requesting:
    values: dict[str, Any] = {"issuer": ISSUER, "authentication": PublicClient(client_id="dev1")}
    values |= {"wish": Wish(), "clock": clock} | changes
    return Requesting(values.pop("issuer"), values.pop("authentication"), **values)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def test_the_issuer_says_where_and_is_believed_for_an_hour(clock: SetClock) -> None:
    asking = requesting(clock)
    steps, token = told(asking.token(ClientCredentials()), [answer(METADATA), answer(GOOD)])
    assert token.access_token == "abc"
    assert [step.url for step in steps if isinstance(step, Exchange)] == [
        "https://as.example/.well-known/oauth-authorization-server/realm",
        ENDPOINT,
    ]
    assert forms(steps)[1] == {"grant_type": "client_credentials", "client_id": "dev1"}
    assert len(told(asking.token(ClientCredentials()), [answer(GOOD)])[0]) == 1
    clock.pass_by(METADATA_FRESH + 1)
    assert len(told(asking.token(ClientCredentials()), [answer(METADATA), answer(GOOD)])[0]) == 2


def test_openids_place_is_the_second(clock: SetClock) -> None:
    answers = [answer(b"", 404), answer(METADATA), answer(GOOD)]
    steps, _ = told(requesting(clock).token(ClientCredentials()), answers)
    assert isinstance(steps[1], Exchange)
    assert steps[1].url == f"{ISSUER}/.well-known/openid-configuration"


def test_metadata_that_cannot_be_had_again_most_likely_still_hold(clock: SetClock) -> None:
    asking = requesting(clock)
    told(asking.token(ClientCredentials()), [answer(METADATA), answer(GOOD)])
    clock.pass_by(METADATA_FRESH + 1)
    steps, _ = told(asking.token(ClientCredentials()), [AWAY, AWAY, answer(GOOD)])
    assert len(steps) == 3
    assert len(told(asking.token(ClientCredentials()), [answer(GOOD)])[0]) == 1


def test_an_endpoint_that_answers_nonsense_may_have_moved(clock: SetClock) -> None:
    asking = requesting(clock)
    with pytest.raises(TokenUnavailableError):
        told(asking.token(ClientCredentials()), [answer(METADATA), answer(b"<html>", 404)])
    moved = {**METADATA, "token_endpoint": "https://new.example/token"}
    steps, _ = told(asking.token(ClientCredentials()), [answer(moved), answer(GOOD)])
    assert isinstance(steps[-1], Exchange)
    assert steps[-1].url == "https://new.example/token"


@pytest.mark.parametrize(
    "said",
    [
        {**METADATA, "issuer": "https://evil.example"},
        {**METADATA, "token_endpoint": "http://as.example/token"},
        {**METADATA, "token_endpoint": "http://127.0.0.1/token"},
        {**METADATA, "token_endpoint": "https://localhost/token"},
        {**METADATA, "token_endpoint": "https://as.example/\nforged line"},
        {**METADATA, "token_endpoint": f"https://user:{SECRET}@as.example/"},
        {**METADATA, "token_endpoint": 5},
        {"issuer": ISSUER},
        [],
        "text",
    ],
)
def test_no_metadata_steer_a_secret_elsewhere(clock: SetClock, said: Any) -> None:
    document = answer(json.dumps(said).encode())
    whole = isinstance(said, dict) and said["issuer"] == ISSUER
    with pytest.raises(TokenUnavailableError) as caught:
        told(
            requesting(clock).token(ClientCredentials()),
            [document] if whole else [document, answer(b"", 500)],
        )
    assert caught.value.code == "upstream_invalid"
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_who_shows_a_certificate_goes_where_one_is_asked_for(clock: SetClock) -> None:
    steps, _ = told(
        requesting(clock, mutual_tls=True).token(ClientCredentials()),
        [answer(METADATA), answer(GOOD)],
    )
    assert isinstance(steps[1], Exchange)
    assert steps[1].url == "https://mtls.as.example/token"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"issuer": ""}, "name the authorization server"),
        ({"issuer": "http://as.example"}, "must be https"),
        ({"issuer": "", "token_endpoint": "http://as.example/token"}, "must be https"),
        ({"device_authorization_endpoint": "ftp://as.example"}, "must be https"),
        ({"issuer": "https://as.example/?a=b"}, "no query"),
    ],
)
def test_what_may_not_be_called_is_told_at_once(
    clock: SetClock, options: dict[str, str], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        requesting(clock, **options)


@pytest.mark.parametrize(
    ("grant", "form"),
    [
        (ClientCredentials(), {"grant_type": "client_credentials"}),
        (
            Password(username="dev1", password="p"),
            {"grant_type": "password", "username": "dev1", "password": "p"},
        ),
        (RefreshToken(refresh_token="r"), {"grant_type": "refresh_token", "refresh_token": "r"}),
        (
            JWTBearer(assertion=lambda: "a.b.c"),
            {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"},
        ),
    ],
)
def test_each_grant_is_asked_for_with_its_parameters_and_the_wish(
    clock: SetClock, grant: Grant, form: dict[str, str]
) -> None:
    wish = Wish(scope="a b", audience="mqtt", resource="urn:x", parameters={"more": "1"})
    wished = {"scope": "a b", "audience": "mqtt", "resource": "urn:x", "more": "1"}
    asking = requesting(
        clock, issuer="", token_endpoint=ENDPOINT, wish=wish, authentication=NoClient()
    )
    steps, _ = told(asking.token(grant), [answer(GOOD)])
    assert forms(steps) == [form | wished]


def test_a_refresh_names_no_scope_and_keeps_a_refresh_token_that_is_not_rotated(
    clock: SetClock,
) -> None:
    asking = requesting(clock, issuer="", token_endpoint=ENDPOINT, wish=Wish(scope="a"))
    old = token_of(clock, refresh_token="old")
    steps, token = told(asking.refreshed(old), [answer(GOOD)])
    form = forms(steps)[0]
    assert form == {"grant_type": "refresh_token", "refresh_token": "old", "client_id": "dev1"}
    assert token.refresh_token == "old"
    _, token = told(asking.refreshed(old), [answer({**GOOD, "refresh_token": "new"})])
    assert token.refresh_token == "new"


def test_a_token_is_as_old_as_the_question(clock: SetClock) -> None:
    flow = requesting(clock, issuer="", token_endpoint=ENDPOINT).token(ClientCredentials())
    asked = clock()
    next(flow)
    clock.pass_by(5)
    with pytest.raises(StopIteration) as end:
        flow.send(answer(GOOD))
    assert end.value.value.obtained == asked


def claims(step: object) -> dict[str, Any]:
    assert isinstance(step, Exchange)
    payload = step.headers["DPoP"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def test_a_nonce_is_taken_up_once_and_kept_for_the_next_time(clock: SetClock) -> None:
    asking = requesting(
        clock, issuer="", token_endpoint=ENDPOINT, dpop=SigningKey.generate("ES256")
    )
    wants = answer({"error": "use_dpop_nonce"}, 400, dpop_nonce="n-1")
    steps, token = told(
        asking.token(ClientCredentials()),
        [wants, answer({**GOOD, "token_type": "DPoP"}, dpop_nonce="n-2")],
    )
    assert token.token_type == "DPoP"
    assert "nonce" not in claims(steps[0])
    assert claims(steps[1])["nonce"] == "n-1"
    assert claims(steps[0])["jti"] != claims(steps[1])["jti"]
    assert claims(steps[1])["htu"] == ENDPOINT
    steps, _ = told(asking.token(ClientCredentials()), [answer({**GOOD, "token_type": "DPoP"})])
    assert claims(steps[0])["nonce"] == "n-2"


@pytest.mark.parametrize("said", ["Bearer", "bearer"])
def test_a_token_that_the_server_did_not_bind_to_the_key_is_not_taken(
    clock: SetClock, said: str
) -> None:
    key = SigningKey.generate("ES256")
    asking = requesting(clock, issuer="", token_endpoint=ENDPOINT, dpop=key)
    unbound = answer({**GOOD, "token_type": said, "refresh_token": "next"})
    with pytest.raises(TokenUnavailableError, match="not bound to the key") as caught:
        told(asking.token(ClientCredentials()), [unbound])
    assert caught.value.code == "upstream_invalid"
    with pytest.raises(TokenUnavailableError, match="not bound to the key"):
        told(asking.refreshed(token_of(clock, refresh_token="old")), [unbound])


@pytest.mark.parametrize("nonce", ["", "a b", 'a"b', "a\\b", "ä", "n" * 1025])
def test_a_server_that_is_never_content_with_a_nonce_is_not_asked_for_ever(
    clock: SetClock, nonce: str
) -> None:
    asking = requesting(
        clock, issuer="", token_endpoint=ENDPOINT, dpop=SigningKey.generate("ES256")
    )
    wants = answer({"error": "use_dpop_nonce"}, 400, dpop_nonce=nonce)
    with pytest.raises(TokenUnavailableError):
        told(asking.token(ClientCredentials()), [wants, wants])
    flow = asking.token(ClientCredentials())
    assert "nonce" not in claims(next(flow))
    flow.close()


# By device code

INVITED = {
    "device_code": SECRET,
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://as.example/device",
    "expires_in": 60,
    "interval": 7,
}
PENDING = answer({"error": "authorization_pending"}, 400)
SLOWER = answer({"error": "slow_down"}, 400)


def by_device_code(
    clock: SetClock, answers: list[Answer | TokenUnavailableError | None]
) -> tuple[list[float], list[Invitation]]:
    """Run the flow; the pauses that it made, and whom it invited. A pause passes the time."""
    asking = requesting(clock, issuer="", token_endpoint=ENDPOINT,
                        device_authorization_endpoint="https://as.example/device")  # fmt: skip
    invited: list[Invitation] = []
    flow = asking.token(DeviceCode(prompt=invited.append))
    pauses: list[float] = []
    left = iter(answers)
    step = next(flow)
    token: Token | None = None
    try:
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                clock.pass_by(step.seconds)
                step = flow.send(None)
                continue
            given = next(left)
            step = (
                flow.throw(given) if isinstance(given, TokenUnavailableError) else flow.send(given)
            )
    except StopIteration as end:
        token = end.value
    assert token is not None
    assert token.access_token == "abc"
    return pauses, invited


def test_a_person_is_invited_and_asked_about_at_the_pace_that_the_server_wants(
    clock: SetClock,
) -> None:
    pauses, invited = by_device_code(clock, [answer(INVITED), PENDING, SLOWER, AWAY, answer(GOOD)])
    assert pauses == [7, 7, 12, 17]
    assert invited == [
        Invitation(
            user_code="ABCD-EFGH",
            verification_uri="https://as.example/device",
            verification_uri_complete="",
            expires_in=60,
        )
    ]
    assert SECRET not in repr(invited)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_when_is_asked_about_a_code_no_sooner(
    clock: SetClock, status: int
) -> None:
    busy = answer({}, status, retry_after="30")
    pauses, _ = by_device_code(clock, [answer(INVITED), busy, PENDING, answer(GOOD)])
    assert pauses == [7, 30, 12]
    soon = answer({}, status, retry_after="1")
    pauses, _ = by_device_code(clock, [answer(INVITED), soon, answer(GOOD)])
    assert pauses == [7, 12]


def test_a_server_that_says_when_keeps_nobody_waiting_longer_than_the_code_is_good(
    clock: SetClock,
) -> None:
    began = clock.elapsed
    busy = answer({}, 503, retry_after="3600")
    with pytest.raises(TokenRequestError) as caught:
        by_device_code(clock, [answer(INVITED), busy])
    assert caught.value.error == "expired_token"
    assert clock.elapsed - began <= 60


def test_who_does_not_come_in_time_is_waited_for_no_longer(clock: SetClock) -> None:
    with pytest.raises(TokenRequestError) as caught:
        by_device_code(clock, [answer(INVITED), *[PENDING] * 20])
    assert caught.value.error == "expired_token"


def test_who_is_denied_is_told_so(clock: SetClock) -> None:
    with pytest.raises(TokenRequestError) as caught:
        by_device_code(clock, [answer(INVITED), answer({"error": "access_denied"}, 400)])
    assert caught.value.error == "access_denied"


@pytest.mark.parametrize("interval", [0, -1, 1e-9, "5", None, True])
def test_no_interval_makes_it_spin(clock: SetClock, interval: object) -> None:
    pauses, _ = by_device_code(clock, [answer({**INVITED, "interval": interval}), answer(GOOD)])
    assert pauses[0] >= 1


@pytest.mark.parametrize("seconds", [10**12, 10**39])
def test_no_server_makes_it_wait_for_ever(clock: SetClock, seconds: int) -> None:
    said = {**INVITED, "interval": seconds, "expires_in": seconds}
    with pytest.raises(TokenRequestError):
        by_device_code(clock, [answer(said), *[PENDING] * 20])


@pytest.mark.parametrize(
    "changes",
    [
        {"device_code": None},
        {"user_code": "a\x1b[2J"},
        {"user_code": 5},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "http://phish.example/"},
        {"verification_uri_complete": "https://as.example/\n"},
    ],
)
def test_nobody_is_shown_nonsense(clock: SetClock, changes: dict[str, object]) -> None:
    with pytest.raises(TokenUnavailableError) as caught:
        by_device_code(clock, [answer({**INVITED, **changes})])
    assert caught.value.code == "upstream_invalid"


# Whose a kept token is


def test_what_was_asked_for_otherwise_has_another_origin(clock: SetClock) -> None:
    key = SigningKey.generate("ES256")
    others = [
        requesting(clock),
        requesting(clock, issuer="https://as.example/other"),
        requesting(clock, authentication=PublicClient(client_id="dev2")),
        requesting(clock, wish=Wish(scope="a")),
        requesting(clock, wish=Wish(resource="a")),
        requesting(clock, wish=Wish(parameters={"login_hint": "dev1"})),
        requesting(clock, wish=Wish(parameters={"login_hint": "dev2"})),
        requesting(clock, wish=Wish(parameters={"authorization_details": "[]"})),
        requesting(clock, username="dev1"),
        requesting(clock, username="dev2"),
        requesting(clock, dpop=key),
    ]
    origins = [each.origin for each in others]
    assert len(set(origins)) == len(origins)
    assert requesting(clock, dpop=key).origin == origins[-1]
    _, token = told(others[0].token(ClientCredentials()), [answer(METADATA), answer(GOOD)])
    assert token.origin == origins[0]


def test_nothing_that_is_shown_holds_a_secret(clock: SetClock) -> None:
    wish = Wish(parameters={"client_secret": SECRET})
    flow = requesting(clock, issuer="", token_endpoint=ENDPOINT, wish=wish).token(
        Password(username="dev1", password=SECRET)
    )
    step = next(flow)
    assert isinstance(step, Exchange)
    assert step.form is not None
    assert SECRET in step.form.values()
    shown = [wish, step, Password(username="a", password=SECRET), answer({"a": SECRET}),
             RefreshToken(refresh_token=SECRET), token_of(clock, access_token=SECRET)]  # fmt: skip
    assert SECRET not in repr(shown)
    flow.close()
