# SPDX-License-Identifier: Apache-2.0
"""``keyfob inspect``: look into a token, and say whether it is good."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

import typer

from keyfob.authorization.decision import DenyReason
from keyfob.cli.compose import asked_issuers, known_revocations
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import Installation, settings_of
from keyfob.cli.output import Exit, Json, answer, fields, finish
from keyfob.cli.shown import shown, time_of
from keyfob.errors import ConfigError, TokenError, UpstreamError
from keyfob.guard.introspection_answers import Active, Refused, Unavailable
from keyfob.guard.issuer_bindings import IssuerBinding
from keyfob.guard.key_sources import KeySource
from keyfob.tokens.keys import KeySet
from keyfob.tokens.opaque import opaque_issuer
from keyfob.tokens.verify import (
    NeedIntrospection,
    NeedKeys,
    VerifiedToken,
    unverified,
    verify,
)

__all__ = ["KEYS_DEADLINE", "be_quiet", "inspect", "no_keys", "token_argument"]

KEYS_DEADLINE: Final = 5.0
"""Seconds that a command waits for an issuer."""

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

    Its issuer's keys are read from the issuer, as the guard would, and where it is to be asked
    about tokens it is.
    """
    be_quiet()
    text = token_argument(text)
    installation = settings_of(directory)
    found = asyncio.run(_inspected(installation, text))
    _answer_inspected(found, as_json=as_json)


def be_quiet() -> None:
    """Say what is wrong once, in the answer."""
    logging.getLogger("keyfob").addHandler(logging.NullHandler())


def token_argument(text: str) -> str:
    """Return the token that was given, or the one on standard input for a dash."""
    return sys.stdin.read().strip() if text == "-" else text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    fault: Fault | None


async def _inspected(installation: Installation, text: str) -> _Found:
    """Look into a token, and judge it by what is known now."""
    header: Mapping[str, Any] = {}
    claims: Mapping[str, Any] = {}
    async with asked_issuers(installation.settings) as issuers:
        try:
            need = _opaque(issuers, text)
            if need is None:
                header, claims = unverified(text)
            verified = need or await _verified(issuers, text)
            if isinstance(verified, NeedIntrospection):
                verified = await _asked(issuers[verified.issuer.issuer], text, verified)
                claims = verified.claims.members
        except TokenError as error:
            return _Found(header=header, claims=claims, fault=(error.code, error.message))
    return _Found(header=header, claims=claims, fault=_revocation(installation, verified))


def _opaque(issuers: Mapping[str, IssuerBinding], text: str) -> NeedIntrospection | None:
    """Say whom to ask about a token that only its issuer can read."""
    prefixes = {
        binding.opaque_prefix.encode(): binding.trusted
        for binding in issuers.values()
        if binding.opaque_prefix is not None
    }
    issuer = opaque_issuer(text.encode("utf-8", "surrogateescape"), prefixes)
    return None if issuer is None else NeedIntrospection(issuer)


async def _verified(
    issuers: Mapping[str, IssuerBinding], text: str
) -> VerifiedToken | NeedIntrospection:
    trusted = {iss: binding.trusted for iss, binding in issuers.items()}
    verified = verify(text, trusted, {}, time.time())
    if isinstance(verified, NeedKeys):
        keys = await _keys(issuers[verified.issuer.issuer].keys, verified)
        verified = verify(text, trusted, keys, time.time())
    if isinstance(verified, NeedKeys):
        raise verified.refusal()
    return verified


async def _asked(binding: IssuerBinding, text: str, need: NeedIntrospection) -> VerifiedToken:
    """Ask an issuer about a token."""
    introspector = binding.introspector
    if introspector is None:
        raise ConfigError(f"{need.issuer.name} cannot be asked about its tokens")
    match await introspector.ask(text.encode(), presented=need.presented):
        case Active(token=token):
            return token
        case Refused(code=code, message=message):
            raise TokenError(message, code=code)
        case Unavailable(reason=reason):
            raise UpstreamError(f"{need.issuer.name} could not be asked about the token: {reason}")


async def _keys(source: KeySource, need: NeedKeys) -> dict[str, KeySet]:
    """Fetch the keys that a token needs."""
    if (flight := source.ask_again(need.kid)) is not None:
        await asyncio.wait({flight}, timeout=KEYS_DEADLINE)
    if source.keys is None:
        raise no_keys(need.issuer.issuer, source)
    return {need.issuer.issuer: source.keys}


def no_keys(issuer: str, source: KeySource) -> UpstreamError:
    """Make the error for keys that could not be fetched."""
    failure = source.health().failure or f"no answer within {KEYS_DEADLINE:.0f} s"
    return UpstreamError(
        f"the keys of {issuer} cannot be read ({failure}); is `keyfob up` running?"
    )


def _revocation(installation: Installation, token: VerifiedToken) -> Fault | None:
    claims = token.claims
    with known_revocations(installation.settings) as revocations:
        revoked = revocations.find(
            issuer=claims.issuer,
            subject=token.subject,
            client=token.client,
            token_id=claims.token_id,
            issued_at=claims.issued_at,
        )
    if revoked is None:
        return None
    because = f" ({revoked.reason})" if revoked.reason else ""
    return DenyReason.TOKEN_REVOKED, f"the token was revoked{because}"


def _answer_inspected(found: _Found, *, as_json: bool) -> NoReturn:
    header, claims, fault = dict(found.header), dict(found.claims), found.fault
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
    return {shown(name): _value(name, value) for name, value in members.items()}


def _value(name: str, value: object) -> str:
    if name in ("exp", "iat", "nbf") and isinstance(value, int | float):
        return f"{value} ({time_of(value)})"
    return shown(value) if isinstance(value, str) else json.dumps(value)
