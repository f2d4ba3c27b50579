# SPDX-License-Identifier: Apache-2.0
"""The decision: what the client is told, what the operator is told, and what nobody is."""

from __future__ import annotations

import pytest

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason, Step
from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.errors import TOKEN_CODES
from keyfob.mqtt.reason_codes import ReasonCode
from keyfob.mqtt.topics import TopicFilter, TopicName

UNAVAILABLE = {
    DenyReason.EXCHANGE_UNKNOWN,
    DenyReason.KEYS_UNAVAILABLE,
    DenyReason.INTROSPECTION_UNAVAILABLE,
    DenyReason.GUARD_UNAVAILABLE,
}


def allowed(**changes: object) -> Decision:
    rule = Rule(operations=Operation.PUBLISH, filter=TopicFilter("a"))
    values: dict[str, object] = {
        "principal": "dev1",
        "issuer": "local",
        "subject": "dev1",
        "permissions": Permissions.allow_only([rule]),
        "expires_at": 1000.5,
    }
    return Decision.allow(**values | changes)  # type: ignore[arg-type]


def test_every_code_of_a_token_error_is_a_reason() -> None:
    assert set(DenyReason) >= TOKEN_CODES
    assert all(DenyReason(code) == code for code in TOKEN_CODES)


@pytest.mark.parametrize("reason", DenyReason)
def test_every_reason_has_an_answer_and_a_sentence(reason: DenyReason) -> None:
    assert reason.reason_code >= 0x80
    assert reason.reason_code.return_code_311 > 0
    assert reason.explanation.endswith(".")
    assert reason.value == reason.name.lower()


@pytest.mark.parametrize("reason", DenyReason)
def test_only_what_is_unavailable_says_so(reason: DenyReason) -> None:
    """A fleet that is told of a bad token where keys are missing asks for new ones at once."""
    says_so = reason.reason_code is ReasonCode.SERVER_UNAVAILABLE
    assert says_so is (reason in UNAVAILABLE)


@pytest.mark.parametrize(
    ("reason", "reason_code"),
    [
        (DenyReason.TOKEN_EXPIRED, ReasonCode.NOT_AUTHORIZED),
        (DenyReason.TOKEN_MALFORMED, ReasonCode.BAD_USERNAME_OR_PASSWORD),
        (DenyReason.CREDENTIALS_MISSING, ReasonCode.BAD_USERNAME_OR_PASSWORD),
        (DenyReason.CLIENT_ID_MISMATCH, ReasonCode.CLIENT_IDENTIFIER_NOT_VALID),
        (DenyReason.SESSION_OWNED_BY_ANOTHER, ReasonCode.NOT_AUTHORIZED),
        (DenyReason.TOKEN_REVOKED, ReasonCode.NOT_AUTHORIZED),
        (
            DenyReason.ENHANCED_AUTHENTICATION_UNSUPPORTED,
            ReasonCode.BAD_AUTHENTICATION_METHOD,
        ),
    ],
)
def test_a_reason_has_the_code_that_the_design_gives_it(
    reason: DenyReason, reason_code: ReasonCode
) -> None:
    assert reason.reason_code is reason_code
    assert Decision.refuse(reason).reason_code is reason_code


def test_an_allowed_decision_says_success_and_carries_what_was_given() -> None:
    decision = allowed(token_id="t1")
    assert decision.allowed
    assert decision.reason is None
    assert decision.reason_code is ReasonCode.SUCCESS
    assert (decision.principal, decision.token_id, decision.expires_at) == ("dev1", "t1", 1000.5)
    assert decision.permissions.publish(TopicName("a")).allowed


def test_a_refusal_permits_nothing() -> None:
    decision = Decision.refuse(DenyReason.TOKEN_EXPIRED, subject="dev1")
    assert not decision.allowed
    assert decision.permissions == Permissions.allow_only()
    assert decision.expires_at == 0
    assert decision.detail == DenyReason.TOKEN_EXPIRED.explanation
    assert Decision.refuse(DenyReason.TOKEN_EXPIRED, detail="since noon").detail == "since noon"


def test_a_decision_cannot_be_taken_for_a_boolean() -> None:
    for decision in (allowed(), Decision.refuse(DenyReason.TOKEN_REVOKED)):
        with pytest.raises(TypeError, match="allowed"):
            bool(decision)


@pytest.mark.parametrize("reason", [None, DenyReason.TOKEN_EXPIRED])
def test_a_decision_cannot_contradict_itself(reason: DenyReason | None) -> None:
    with pytest.raises(ValueError, match="reason"):
        Decision(allowed=reason is not None, reason=reason)


def test_steps_are_made_when_somebody_asks() -> None:
    asked: list[str] = []

    def explain() -> tuple[Step, ...]:
        asked.append("once")
        return (Step(check="signature", ok=True, detail="by key 1"),)

    decision = allowed(explain=explain)
    assert asked == []
    assert [step.check for step in decision.steps] == ["signature"]
    assert asked == ["once"]
    assert decision == allowed()
    assert hash(decision) == hash(allowed())
    assert decision != allowed(subject="somebody else")
    assert Decision.refuse(DenyReason.TOKEN_EXPIRED).steps == ()


def test_what_a_client_sent_to_prove_itself_is_never_shown() -> None:
    request = ConnectRequest(
        client_id="dev1",
        username=b"secret-1",
        password=b"secret-2",
        authentication_method="JWT",
        authentication_data=b"secret-3",
    )
    assert "secret" not in repr(request)
    assert "dev1" in repr(request)
