# SPDX-License-Identifier: Apache-2.0
"""``keyfob inspect`` and ``keyfob explain``: look into a token, and ask what it allows."""

from __future__ import annotations

import asyncio
import datetime
import json
import logging
import sys
import time
from typing import Annotated, Any, Literal, NoReturn

import typer

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason, Step
from keyfob.authorization.permissions import Verdict
from keyfob.cli.compose import asked_issuers, known_revocations, onlooker
from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, Installation, settings_of
from keyfob.cli.output import Exit, Json, answer, fields, finish
from keyfob.errors import ConfigError, TokenError, UpstreamError
from keyfob.guard.key_sources import KeySource
from keyfob.mqtt.topics import TopicFilter, TopicName
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import (
    NeedIntrospection,
    NeedKeys,
    VerifiedToken,
    unverified,
    verify,
)

__all__ = ["explain", "inspect"]

_KEYS_DEADLINE = 5.0
_BROKER = "mosquitto"

Fault = tuple[str, str]
"""A reason's code, and its explanation."""


def inspect(
    text: Annotated[
        str, typer.Argument(metavar="TOKEN", help="The token; - reads it from standard input.")
    ],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Show what is in a token, whether it is good, and why not.

    Its issuer's keys are read from the issuer, as the guard would.
    """
    _be_quiet()
    text = _argument(text)
    installation = settings_of(directory)
    try:
        header, claims = unverified(text)
    except TokenError as error:
        _answer_inspected({}, {}, (error.code, error.message), as_json=as_json)
    fault = asyncio.run(_fault(installation, text))
    _answer_inspected(header, claims, fault, as_json=as_json)


def explain(
    action: Annotated[
        Literal["publish", "subscribe"],
        typer.Argument(metavar="publish|subscribe", help="What it wants to do."),
    ],
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC", help="The topic name, or the topic filter.")
    ],
    text: Annotated[
        str, typer.Option("--token", metavar="TOKEN", help="The token; - reads standard input.")
    ],
    client_id: Annotated[str, typer.Option(metavar="ID", help="The MQTT client identifier.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Say whether a token allows something, and show every step.

    It goes by what the running guard goes by (its sessions and revocations), and changes nothing.
    """
    _be_quiet()
    text = _argument(text)
    wanted = TopicName.parse(topic) if action == "publish" else TopicFilter.parse(topic)
    decision = asyncio.run(_decide(settings_of(directory), text, client_id))
    verdict = _verdict(decision, wanted)
    allowed = decision.allowed and verdict is not None and verdict.allowed
    steps = [*decision.steps, *_topic_steps(action, topic, verdict)]
    data = {
        "allowed": allowed,
        "reason": decision.reason or (None if allowed else "topic_not_permitted"),
        "principal": decision.principal or None,
        "expires_at": decision.expires_at or None,
        "steps": [{"check": s.check, "ok": s.ok, "detail": s.detail} for s in steps],
    }
    lines = [*_table(steps), "", _sentence(decision, action, topic, allowed=allowed)]
    answer(data, "\n".join(lines), as_json=as_json)
    finish(Exit.OK if allowed else Exit.REFUSED)


def _be_quiet() -> None:
    """Say what is wrong once, in the answer."""
    logging.getLogger("keyfob").addHandler(logging.NullHandler())


def _argument(text: str) -> str:
    return sys.stdin.read().strip() if text == "-" else text


# inspect


async def _fault(installation: Installation, text: str) -> Fault | None:
    """Say what is wrong with a token by what is known now; None: it is good."""
    async with asked_issuers(installation.settings) as issuers:
        trusted = {iss: binding.trusted for iss, binding in issuers.items()}
        try:
            verified = verify(text, trusted, {}, time.time())
            if isinstance(verified, NeedKeys):
                keys = await _keys(issuers[verified.issuer.issuer].keys, verified)
                verified = verify(text, trusted, keys, time.time())
            if isinstance(verified, NeedKeys):
                raise verified.refusal()
        except TokenError as error:
            return error.code, error.message
    if isinstance(verified, NeedIntrospection):
        raise ConfigError(f"tokens of {verified.issuer.name} can only be judged by their issuer")
    return _revocation(installation, verified)


async def _keys(source: KeySource, need: NeedKeys) -> dict[str, KeySet]:
    """Fetch the keys that a token needs."""
    if (flight := source.ask_again(need.kid)) is not None:
        await asyncio.wait({flight}, timeout=_KEYS_DEADLINE)
    if source.keys is None:
        raise _no_keys(need.issuer.issuer, source)
    return {need.issuer.issuer: source.keys}


def _no_keys(issuer: str, source: KeySource) -> UpstreamError:
    failure = source.health().failure or f"no answer within {_KEYS_DEADLINE:.0f} s"
    return UpstreamError(
        f"the keys of {issuer} cannot be read ({failure}); is `keyfob up` running?"
    )


def _revocation(installation: Installation, token: VerifiedToken) -> Fault | None:
    claims = token.claims
    with known_revocations(installation.settings) as revocations:
        revoked = revocations.find(
            issuer=claims.issuer,
            subject=claims.subject,
            client=claims.client_id,
            token_id=claims.token_id,
            issued_at=claims.issued_at,
        )
    if revoked is None:
        return None
    because = f" ({revoked.reason})" if revoked.reason else ""
    return DenyReason.TOKEN_REVOKED, f"the token was revoked{because}"


def _answer_inspected(
    header: dict[str, Any], claims: dict[str, Any], fault: Fault | None, *, as_json: bool
) -> NoReturn:
    data: dict[str, Any] = {"good": fault is None, "header": header, "claims": claims}
    lines = [fields(_readable(part)) + "\n" for part in (header, claims) if part]
    if fault is None:
        lines.append("good")
    else:
        code, why = fault
        data |= {"reason": code, "explanation": why}
        lines.append(f"not good: {why} ({code})")
    answer(data, "\n".join(lines), as_json=as_json)
    finish(Exit.OK if fault is None else Exit.REFUSED)


def _readable(members: dict[str, Any]) -> dict[str, object]:
    """Return members for people: times as dates, everything on one line."""
    return {_shown(name): _value(name, value) for name, value in members.items()}


def _value(name: str, value: object) -> str:
    if name in ("exp", "iat", "nbf") and isinstance(value, int | float):
        return f"{value} ({_time(value)})"
    return _shown(value) if isinstance(value, str) else json.dumps(value)


def _shown(text: str) -> str:
    # A token may hold anything; a terminal must not obey it.
    return text if text.isprintable() else json.dumps(text)


# explain


async def _decide(installation: Installation, text: str, client_id: str) -> Decision:
    settings = installation.settings
    request = ConnectRequest(client_id=client_id, password=text.encode("utf-8", "surrogateescape"))
    async with asked_issuers(settings) as issuers:
        with onlooker(settings, issuers) as guard:
            decision = await guard.connect(
                request, broker=_BROKER, deadline=_KEYS_DEADLINE, explain=True
            )
        if decision.reason is DenyReason.KEYS_UNAVAILABLE:
            issuer = str(unverified(text)[1]["iss"])
            raise _no_keys(issuer, issuers[issuer].keys)
    return decision


def _verdict(decision: Decision, wanted: TopicName | TopicFilter) -> Verdict | None:
    if not decision.allowed:
        return None
    if isinstance(wanted, TopicName):
        return decision.permissions.publish(wanted)
    return decision.permissions.subscribe(wanted)


def _topic_steps(action: str, topic: str, verdict: Verdict | None) -> list[Step]:
    if verdict is None:
        return []
    if verdict.rule is None:
        detail = f"nothing lets it {action} {_shown(topic)}"
    else:
        gives = "lets" if verdict.allowed else "does not let"
        source = _shown(verdict.rule.source or str(verdict.rule.filter))
        detail = f"{source} {gives} it {action} {_shown(topic)}"
    return [Step(check=action, ok=verdict.allowed, detail=detail)]


def _table(steps: list[Step]) -> list[str]:
    width = max((len(step.check) for step in steps), default=0)
    return [f"{'ok' if s.ok else 'NO'}  {s.check:<{width}}  {s.detail}" for s in steps]


def _sentence(decision: Decision, action: str, topic: str, *, allowed: bool) -> str:
    if decision.reason is not None:
        return f"refused: {decision.detail} ({decision.reason})"
    what = f"{decision.principal} may {'' if allowed else 'not '}{action} {_shown(topic)}"
    until = f", until {_time(decision.expires_at)}" if allowed else " (topic_not_permitted)"
    return f"{'allowed' if allowed else 'refused'}: {what}{until}"


def _time(seconds: float) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return "no date"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
