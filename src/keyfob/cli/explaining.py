# SPDX-License-Identifier: Apache-2.0
"""``keyfob explain``: what a token, a client that is connected, or mere claims would be allowed.

Whatever the question is about, it goes by what the running guard goes by, and changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason, Step
from keyfob.authorization.permissions import Operation, Verdict
from keyfob.cli.compose import asked_issuers, onlooker
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.inspecting import KEYS_DEADLINE, be_quiet, no_keys, token_argument
from keyfob.cli.installation import settings_of
from keyfob.cli.output import Exit, Json, answer, finish
from keyfob.cli.shown import shown, time_of
from keyfob.config import IssuerSection, Settings
from keyfob.errors import ConfigError, NotFoundError, UpstreamError
from keyfob.guard.session import Session, SessionState
from keyfob.mqtt.topics import TopicFilter, TopicName, overlaps, witness
from keyfob.tokens import json_strict
from keyfob.tokens.verify import unverified

__all__ = ["explain"]

MAX_CLAIMS_BYTES: Final = 65_536
"""More than any token holds."""

_BROKER: Final = "mosquitto"
_ASSUMED_LIFETIME: Final = 3600
_STATES: Final = {
    SessionState.ONLINE: "connected",
    SessionState.OFFLINE: "not connected; its session is stored",
    SessionState.REVOKED: "revoked, until it is let in again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    action: Literal["publish", "subscribe"]
    topic: TopicName | TopicFilter
    qos: int
    retain: bool

    def verdict(self, decision: Decision) -> Verdict | None:
        if not decision.allowed:
            return None
        if isinstance(self.topic, TopicName):
            return decision.permissions.publish(self.topic, self.qos, self.retain)
        return decision.permissions.subscribe(self.topic, self.qos)


def explain(
    action: Annotated[
        Literal["publish", "subscribe"],
        typer.Argument(metavar="publish|subscribe", help="What it wants to do."),
    ],
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="The topic name, or the topic filter.")
    ],
    client_id: Annotated[str, typer.Option(metavar="ID", help="The MQTT client identifier.")],
    text: Annotated[
        str | None,
        typer.Option("--token", metavar="TOKEN", help="A token; - reads standard input."),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Claims as JSON, as if an issuer had signed them."),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --claims: whose they would be."),
    ] = None,
    qos: Annotated[int, typer.Option(min=0, max=2, help="At which QoS.")] = 0,
    retain: Annotated[bool, typer.Option("--retain", help="As a retained message.")] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Say whether something is allowed, and show every step.

    Of a token, or of claims that nobody has signed, or else of the client's session at the broker.
    """
    be_quiet()
    wanted = TopicName.parse(topic) if action == "publish" else TopicFilter.parse(topic)
    question = _Question(action=action, topic=wanted, qos=qos, retain=retain)
    if text is not None and claims is not None:
        raise ConfigError("give a --token or --claims, not both")
    if issuer is not None and claims is None:
        raise ConfigError("--issuer goes with --claims")
    settings = settings_of(directory).settings
    first: tuple[Step, ...] = ()
    if text is not None:
        decision = asyncio.run(_of_token(settings, token_argument(text), client_id))
    elif claims is not None:
        first, decision = asyncio.run(_of_claims(settings, claims, issuer, client_id))
    else:
        first, decision = asyncio.run(_of_session(settings, client_id))
    _tell(question, first, decision, as_json=as_json)


async def _of_token(settings: Settings, text: str, client_id: str) -> Decision:
    request = ConnectRequest(client_id=client_id, password=text.encode("utf-8", "surrogateescape"))
    async with asked_issuers(settings) as issuers:
        with onlooker(settings, issuers) as guard:
            decision = await guard.connect(
                request, broker=_BROKER, deadline=KEYS_DEADLINE, explain=True
            )
        if decision.reason is DenyReason.INTROSPECTION_UNAVAILABLE:
            raise UpstreamError(f"its issuer could not be asked about it: {decision.detail}")
        if decision.reason is DenyReason.KEYS_UNAVAILABLE:
            issuer = str(unverified(text)[1]["iss"])
            raise no_keys(issuer, issuers[issuer].keys)
    return decision


async def _of_claims(
    settings: Settings, path: Path, name: str | None, client_id: str
) -> tuple[tuple[Step, ...], Decision]:
    given = _read(path)
    members = _assumed(settings, given, name, client_id) | given
    made_up = ", ".join(f"{key} {json.dumps(members[key])}" for key in members if key not in given)
    told = Step(
        check="claims",
        ok=True,
        detail=f"as {shown(str(path))} says, signed by nobody"
        + (f"; assumed: {made_up}" if made_up else ""),
    )
    request = ConnectRequest(client_id=client_id)
    payload = json.dumps(members).encode()
    async with asked_issuers(settings) as issuers:
        with onlooker(settings, issuers) as guard:
            return (told,), guard.suppose(payload, request, broker=_BROKER)


async def _of_session(settings: Settings, client_id: str) -> tuple[tuple[Step, ...], Decision]:
    async with asked_issuers(settings) as issuers:
        with onlooker(settings, issuers) as guard:
            found = guard.recall(_BROKER, client_id)
    if found is None:
        raise NotFoundError(
            f"the guard knows no session of {shown(client_id)}: give a --token or --claims, or"
            " look into its audit log"
        )
    session, decision = found
    over = _over(session)
    if over is not None:
        decision = Decision.refuse(over)
    return (_told(session, over),), _as_held(session) if decision is None else decision


def _over(session: Session) -> DenyReason | None:
    if session.state is SessionState.REVOKED:
        return DenyReason.TOKEN_REVOKED
    return DenyReason.TOKEN_EXPIRED if session.expires_at <= time.time() else None


def _as_held(session: Session) -> Decision:
    """Return what a session may do by what is remembered of it: its claims are not known."""
    return Decision.allow(
        principal=session.principal,
        issuer=session.issuer,
        subject=session.subject,
        permissions=session.permissions,
        expires_at=session.expires_at,
        token_id=session.token_id,
    )


def _told(session: Session, over: DenyReason | None) -> Step:
    who = f"{session.principal!a} of {shown(session.issuer)}"
    until = f"its token is good until {time_of(session.expires_at)}"
    detail = f"{who} is {_STATES[session.state]}; {until}"
    return Step(check="session", ok=over is None, detail=detail)


# Claims from a file


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CLAIMS_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_CLAIMS_BYTES:
        raise ConfigError(f"{path}: more than {MAX_CLAIMS_BYTES} bytes")
    try:
        members = json_strict.loads(data)
    except json_strict.JsonError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(members, dict):
        raise ConfigError(f"{path}: not a JSON object")
    return members


def _assumed(
    settings: Settings, given: dict[str, Any], name: str | None, client_id: str
) -> dict[str, Any]:
    """Return what a claims set needs and people leave out, so that it says only what matters."""
    issuer = _issuer(settings, given, name)
    now = int(time.time())
    subject = str(given.get("sub") or client_id or "device")
    return {
        "iss": issuer.issuer,
        "aud": issuer.audience[0],
        "iat": now,
        "exp": now + (issuer.max_lifetime or _ASSUMED_LIFETIME),
        "jti": "assumed",
        "sub": subject,
        "client_id": subject,
    }


def _issuer(settings: Settings, given: dict[str, Any], name: str | None) -> IssuerSection:
    fitting = [
        issuer
        for issuer in settings.issuers
        if (issuer.name == name if name is not None else given.get("iss") in (None, issuer.issuer))
    ]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(issuer.name for issuer in settings.issuers)
    raise ConfigError(f"say with --issuer whose claims they would be; configured are: {names}")


# The answer


def _tell(
    question: _Question, first: tuple[Step, ...], decision: Decision, *, as_json: bool
) -> None:
    verdict = question.verdict(decision)
    steps = [*first, *decision.steps, *_topic_steps(question, decision, verdict)]
    allowed = verdict is not None and verdict.allowed
    data = {
        "allowed": allowed,
        "reason": decision.reason or (None if allowed else "topic_not_permitted"),
        "principal": decision.principal or None,
        "issuer": decision.issuer or None,
        "expires_at": decision.expires_at or None,
        "steps": [{"check": s.check, "ok": s.ok, "detail": s.detail} for s in steps],
    }
    lines = [*_table(steps), "", _sentence(question, decision, allowed=allowed)]
    answer(data, "\n".join(lines), as_json=as_json)
    finish(Exit.OK if allowed else Exit.REFUSED)


def _topic_steps(question: _Question, decision: Decision, verdict: Verdict | None) -> list[Step]:
    if verdict is None:
        return []
    what = f"{question.action} {shown(str(question.topic))}"
    if verdict.rule is not None:
        gives = "lets" if verdict.allowed else "does not let"
        source = shown(verdict.rule.source or str(verdict.rule.filter))
        return [
            Step(check=question.action, ok=verdict.allowed, detail=f"{source} {gives} it {what}")
        ]
    detail = f"nothing lets it {what}{_nearly(question.topic, decision)}"
    return [Step(check=question.action, ok=False, detail=detail)]


def _nearly(topic: TopicName | TopicFilter, decision: Decision) -> str:
    """Say of a SUBSCRIBE that asks for too much what it would bring beyond what is granted."""
    if isinstance(topic, TopicName):
        return ""
    for rule in decision.permissions.rules:
        if Operation.SUBSCRIBE not in rule.operations or not overlaps(rule.filter, topic):
            continue
        beyond = witness(rule.filter, topic)
        if beyond is not None:
            return f": {shown(str(rule.filter))} would not cover {shown(str(beyond))}"
    return ""


def _table(steps: list[Step]) -> list[str]:
    width = max((len(step.check) for step in steps), default=0)
    return [f"{'ok' if s.ok else 'NO'}  {s.check:<{width}}  {s.detail}" for s in steps]


def _sentence(question: _Question, decision: Decision, *, allowed: bool) -> str:
    if decision.reason is not None:
        return f"refused: {decision.detail} ({decision.reason})"
    may = "may" if allowed else "may not"
    what = f"{decision.principal} {may} {question.action} {shown(str(question.topic))}"
    until = f", until {time_of(decision.expires_at)}" if allowed else " (topic_not_permitted)"
    return f"{'allowed' if allowed else 'refused'}: {what}{until}"
