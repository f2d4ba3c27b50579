# SPDX-License-Identifier: Apache-2.0
"""The token that everything is tried with, and whose identifier that is tried under."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.broker_target import Address, BrokerTarget
from keyfob.cli.doctor.examination import examine
from keyfob.cli.doctor.identity import check_identifier, identifier_to_use
from keyfob.cli.doctor.issuer_checks import ClientKind
from keyfob.cli.doctor.subject import BrokerWish, Subject
from keyfob.cli.doctor.taking import take_token
from keyfob.cli.doctor.token_checks import Seen
from keyfob.device import FileStore, Freshness, TokenSource
from keyfob.device.clock import system_clock
from keyfob.errors import ConfigError
from tests.cli.commands import Shell
from tests.device.world import SECRET, Rogue, SetClock, good, rogue, sends, token_of

KIND = ClientKind(
    issuer="https://as.example",
    grant_type="client_credentials",
    authentication=("client_secret_basic",),
)


def source_at(server: Rogue, store: FileStore | None = None, **changes: Any) -> TokenSource:
    values = {"client_id": "dev1", "client_secret": SECRET} | changes
    return TokenSource(server.url, store=store, **values)


def test_a_kept_token_that_is_to_be_renewed_is_taken_and_no_refresh_token_is_spent(
    tmp_path: Path,
) -> None:
    clock, store = SetClock(), FileStore(tmp_path / "token")
    with rogue(good(refresh_token="once", expires_in=3600)) as server:
        first = source_at(server, store, clock=clock).get()
        clock.pass_by(3400)
        later = source_at(server, store, clock=clock)
        assert later.state is Freshness.STALE
        taken = take_token(later)
        assert (taken.token, taken.fetched) == (first, False)
        assert server.asked == 1


def test_a_token_that_has_ended_is_renewed_and_what_comes_is_kept(tmp_path: Path) -> None:
    clock, store = SetClock(), FileStore(tmp_path / "token")
    with rogue(good(refresh_token="once", expires_in=3600)) as server:
        source_at(server, store, clock=clock).get()
        clock.pass_by(3700)
        taken = take_token(source_at(server, store, clock=clock))
        assert taken.fetched
        assert store.load() == taken.token
        assert b"refresh_token=once" in server.requests[-1]


@pytest.mark.parametrize(
    ("behave", "code"),
    [
        (sends({"error": "invalid_scope"}, "400 Bad Request"), "token_refused"),
        (sends({"error": "server_error"}, "500 Internal Server Error"), "token_unavailable"),
        (sends(b"<html>"), "token_unavailable"),
    ],
)
def test_why_there_is_no_token_is_a_finding_and_the_rest_is_looked_at(
    behave: Any, code: str
) -> None:
    with rogue(behave) as server:
        kind = dataclasses.replace(KIND, issuer=server.url)
        subject = Subject(client=kind, ca=None, source=source_at(server))
        report = examine(subject, None, system_clock())
    assert [finding.code for finding in report.token.findings] == [code]
    assert report.issuer.facts["token_endpoint"] == f"{server.url}/token"
    assert SECRET not in str(report)


def test_who_has_not_logged_in_hears_of_the_issuer_all_the_same() -> None:
    with rogue(good()) as server:
        kind = dataclasses.replace(KIND, issuer=server.url)
        report = examine(Subject(client=kind, ca=None, why="log in"), None, system_clock())
    assert "metadata" in report.issuer.facts
    assert "log in" in report.token.findings[0].what


# Under which identifier

SEEN = Seen(
    token=token_of(SetClock()), header={"alg": "ES256"}, claims={"sub": "dev1", "client_id": "app"}
)


def wish(**changes: Any) -> BrokerWish:
    own = changes.pop("own", "")
    address = Address(host="localhost", port=1)
    return BrokerWish(target=BrokerTarget(address=address, client_identifier=own), **changes)


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ({}, ""),
        ({"own": "dev1"}, ""),
        ({"identifier": "dev1-doctor"}, "dev1-doctor"),
        ({"take_over": True}, "dev1"),
        ({"take_over": True, "own": "mine"}, "mine"),
        ({"take_over": True, "identifier": "dev1"}, "dev1"),
    ],
)
def test_a_devices_own_identifier_is_used_only_where_that_is_said(
    asked: dict[str, Any], used: str
) -> None:
    subject = Subject(client=KIND, ca=None, names=("known",))
    assert identifier_to_use(wish(**asked), SEEN, subject) == used


@pytest.mark.parametrize("identifier", ["dev1", "app", "known", "mine"])
def test_every_name_that_may_be_the_devices_own_needs_a_take_over(identifier: str) -> None:
    subject = Subject(client=KIND, ca=None, names=("known",))
    with pytest.raises(ConfigError, match="--take-over"):
        identifier_to_use(wish(identifier=identifier, own="mine"), SEEN, subject)


def test_nobody_can_be_taken_over() -> None:
    opaque = Seen(token=token_of(SetClock()))
    with pytest.raises(ConfigError, match="--client-identifier"):
        identifier_to_use(wish(take_over=True), opaque, Subject(client=KIND, ca=None))


@pytest.mark.parametrize(
    ("chosen", "severities"),
    [("", []), ("dev1", []), ("app", []), ("dev1-2", ["note"]), ("other", ["wrong"])],
)
def test_whether_the_identifier_fits_to_the_token_is_told(
    chosen: str, severities: list[str]
) -> None:
    section = check_identifier(SEEN, chosen)
    assert [str(finding.severity) for finding in section.findings] == severities
    assert section.facts["bound_to"] == {"sub": "dev1", "client_id": "app"}


# What was typed


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("--client-id", "a", "--profile", "b"), "who asks"),
        ((), "who asks"),
        (("--profile", "b", "--scope", "x"), "a profile everything"),
        (("--client-id", "a", "--issuer", "https://localhost:1", "--take-over"), "which broker"),
        (("--client-id", "a", "--issuer", "https://localhost:1", "--carry", "x"), "which broker"),
        (("--client-id", "a", "--issuer", "https://localhost:1", "--broker-ca", "x"), "--broker"),
        (("--client-id", "a", "--issuer", "http://as.example"), "https"),
        (("--client-id", "a", "--broker", "x://y"), "mqtts://"),
        (("--client-id", "a", "--carry", "pocket"), "auth:METHOD"),
        (("--client-id", "a", "--publish", "a/#"), "topic"),
    ],
)
def test_what_does_not_fit_together_is_misuse_and_nobody_is_asked(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...], words: str
) -> None:
    monkeypatch.setenv("KEYFOB_CLIENT_SECRET", SECRET)
    outcome = shell("doctor", *typed)
    assert outcome.code == 2, outcome
    assert words in outcome.err
    assert SECRET not in outcome.out + outcome.err


def test_a_profiles_way_to_carry_needs_no_broker(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "keyfob").mkdir()
    profile = '["p"]\nissuer = "https://localhost:1"\nclient_id = "a"\ncarry = "username"\n'
    (tmp_path / "keyfob" / "profiles.toml").write_text(profile, encoding="utf-8")
    outcome = shell.plain("doctor", "--profile", "p", "--json")
    assert outcome.code == 1, outcome
    assert outcome.json["broker"] is None
    assert {one["code"] for one in outcome.json["findings"]} == {"port_closed", "token_unavailable"}
