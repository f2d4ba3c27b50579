# SPDX-License-Identifier: Apache-2.0
"""``keyfob token``, ``inspect`` and ``explain``: get a token, look into it, ask what it allows."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import ssl
import sys
import time
from typing import Annotated, Any, Literal

import httpx
import typer

from keyfob.authorization.decision import ConnectRequest, Decision, Step
from keyfob.authorization.permissions import Verdict
from keyfob.cli.compose import bindings, onlooker
from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, Installation, settings_of
from keyfob.cli.output import Exit, answer, fields, finish
from keyfob.errors import ConfigError, TokenError, UpstreamError
from keyfob.guard.guard import Guard
from keyfob.mqtt.topics import TopicFilter, TopicName
from keyfob.tokens.verify import NeedIntrospection, NeedKeys, unverified, verify

__all__ = ["explain", "inspect", "token"]

_KEYS_DEADLINE = 5.0
_BROKER = "mosquitto"

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]
TokenArgument = Annotated[
    str, typer.Argument(metavar="TOKEN", help="The token; - reads it from standard input.")
]


def token(
    client_id: Annotated[str, typer.Option(metavar="ID", help="The device, or the application.")],
    username: Annotated[
        str, typer.Option(help="The device, for the password grant of an application.")
    ] = "",
    scope: Annotated[str, typer.Option(help="Ask for no more than this.")] = "",
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Get a token from the installation's server and print it.

    The secret is read from KEYFOB_CLIENT_SECRET or asked for (with --username the device's from
    KEYFOB_PASSWORD): on the command line other users could read it.
    """
    installation = settings_of(directory)
    form = {"client_id": client_id, "grant_type": "client_credentials"}
    if username:
        form |= {"grant_type": "password", "username": username}
        form["password"] = _secret("KEYFOB_PASSWORD", f"secret of {username}")
        if secret := os.environ.get("KEYFOB_CLIENT_SECRET"):
            form["client_secret"] = secret
    else:
        form["client_secret"] = _secret("KEYFOB_CLIENT_SECRET", f"secret of {client_id}")
    if scope:
        form["scope"] = scope
    status, data = _post(installation, form)
    if status != 200:
        description = data.get("error_description", "")
        answer(data, f"refused: {data.get('error')} {description}".rstrip(), as_json=as_json)
        finish(Exit.REFUSED)
    answer(data, str(data["access_token"]), as_json=as_json)


def inspect(
    text: TokenArgument, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Show what is in a token, whether it is good, and why not."""
    text = _argument(text)
    installation = settings_of(directory)
    header, claims = unverified(text)
    error = asyncio.run(_judge(installation, text))
    good = error is None
    data: dict[str, Any] = {"good": good, "header": header, "claims": claims}
    if error is not None:
        data |= {"reason": error.code, "explanation": error.message}
    lines = [fields(header), "", fields(_readable(claims)), ""]
    lines.append("good" if error is None else f"not good: {error.message} ({error.code})")
    answer(data, "\n".join(lines), as_json=as_json)
    finish(Exit.OK if good else Exit.REFUSED)


def explain(
    action: Annotated[Literal["publish", "subscribe"], typer.Argument(help="What it wants to do.")],
    topic: Annotated[str, typer.Argument(help="The topic name, or the topic filter.")],
    text: Annotated[
        str, typer.Option("--token", metavar="T", help="The token; - reads standard input.")
    ],
    client_id: Annotated[str, typer.Option(metavar="ID", help="The MQTT client identifier.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Say whether a connection with this token may do this, and show every step."""
    text = _argument(text)
    wanted = TopicName.parse(topic) if action == "publish" else TopicFilter.parse(topic)
    decision = asyncio.run(_decide(settings_of(directory), text, client_id))
    verdict = _verdict(decision, wanted)
    allowed = decision.allowed and verdict is not None and verdict.allowed
    steps = [*decision.steps, *_topic_steps(action, topic, verdict)]
    data = {
        "allowed": allowed,
        "reason": decision.reason or (None if allowed else "topic_not_permitted"),
        "principal": decision.principal,
        "expires_at": decision.expires_at or None,
        "steps": [{"check": s.check, "ok": s.ok, "detail": s.detail} for s in steps],
    }
    answer(data, _story(decision, steps, allowed=allowed), as_json=as_json)
    finish(Exit.OK if allowed else Exit.REFUSED)


def _argument(text: str) -> str:
    return sys.stdin.read().strip() if text == "-" else text


def _secret(variable: str, prompt: str) -> str:
    return os.environ.get(variable) or str(typer.prompt(prompt, hide_input=True, err=True))


def _post(installation: Installation, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    context = ssl.create_default_context(cafile=installation.directory / "ca.pem")
    url = f"{installation.settings.server.issuer}/oauth2/token"
    try:
        response = httpx.post(url, data=form, verify=context, trust_env=False)
        data = response.json()
    except httpx.HTTPError as error:
        raise UpstreamError(f"{url} cannot be reached: {error}") from error
    except ValueError as error:
        raise UpstreamError(f"{url} did not answer with JSON", code="upstream_invalid") from error
    return response.status_code, data


async def _judge(installation: Installation, text: str) -> TokenError | None:
    """Verify a token with every issuer's present keys; None when it is good."""
    every = bindings(installation.settings, follow=False)
    trusted = {iss: binding.trusted for iss, binding in every.items()}
    keys = {}
    async with Guard(every) as guard:
        await guard.ready(_KEYS_DEADLINE)
        for iss, binding in every.items():
            if (known := binding.keys.keys) is not None:
                keys[iss] = known
        try:
            verified = verify(text, trusted, keys, time.time())
        except TokenError as error:
            return error
    if isinstance(verified, NeedKeys):
        if verified.loaded:
            return verified.refusal()
        raise UpstreamError(f"the keys of {verified.issuer.issuer} cannot be read")
    if isinstance(verified, NeedIntrospection):
        raise ConfigError(f"tokens of {verified.issuer.name} can only be judged by their issuer")
    return None


async def _decide(installation: Installation, text: str, client_id: str) -> Decision:
    with onlooker(installation.settings) as guard:
        async with guard:
            await guard.ready(_KEYS_DEADLINE)
            request = ConnectRequest(client_id=client_id, password=text.encode())
            return await guard.connect(
                request, broker=_BROKER, deadline=_KEYS_DEADLINE, explain=True
            )


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
        detail = f"nothing lets it {action} {topic}"
    else:
        gives = "lets" if verdict.allowed else "does not let"
        detail = f"{verdict.rule.source or verdict.rule.filter} {gives} it {action} {topic}"
    return [Step(check=action, ok=verdict.allowed, detail=detail)]


def _story(decision: Decision, steps: list[Step], *, allowed: bool) -> str:
    width = max((len(step.check) for step in steps), default=0)
    lines = [f"{'ok' if s.ok else 'NO':<3} {s.check:<{width}}  {s.detail}" for s in steps]
    if decision.reason is not None:
        lines.append(f"refused: {decision.detail} ({decision.reason})")
    else:
        ends = _time(decision.expires_at)
        lines.append(f"{'allowed' if allowed else 'refused'}: {decision.principal}, until {ends}")
    return "\n".join(lines)


def _readable(claims: dict[str, Any]) -> dict[str, object]:
    """Claims with their dates as dates."""
    return {
        name: f"{value} ({_time(value)})"
        if name in ("exp", "iat", "nbf") and isinstance(value, int | float)
        else value
        if isinstance(value, str)
        else json.dumps(value)
        for name, value in claims.items()
    }


def _time(seconds: float) -> str:
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return "no date"
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
