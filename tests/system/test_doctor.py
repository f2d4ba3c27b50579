# SPDX-License-Identifier: Apache-2.0
"""`keyfob doctor` as a user runs it: server, guard and Mosquitto, and a Mosquitto without any."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.broker_target import Address, BrokerTarget, BrokerTls
from keyfob.cli.doctor.examination import examine
from keyfob.cli.doctor.issuer_checks import ClientKind
from keyfob.cli.doctor.subject import BrokerWish, Subject
from keyfob.device import Moment, TokenSource
from keyfob.device.clock import system_clock
from tests.cli.commands import Shell, wait_for
from tests.free_ports import free_port
from tests.running import MOSQUITTO, Installation
from tests.server.certificates import Authority
from tests.system.doctoring import Doctor

NOTES = {"token_large", "rights_none"}


@pytest.fixture
def doctor(
    running: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Doctor:
    return Doctor(Shell(capsys, running.directory), monkeypatch, running)


def codes(told: Any) -> set[str]:
    return {finding["code"] for finding in told["findings"]}


def test_an_installation_that_is_well_has_no_fault_and_everything_was_tried(
    doctor: Doctor,
) -> None:
    doctor.device("well", "--publish", "d/well/#", "--subscribe", "c/well/#")
    told = doctor.says("--client-id", "well", "--publish", "d/well/x")
    assert codes(told) <= NOTES
    assert told["issuer"]["about"] == doctor.up.settings.server.issuer
    assert told["token"]["signature"] == "good"
    assert told["token"]["publish"] == ["d/well/#"]
    assert told["token"]["bound_to"] == {"sub": "well", "client_id": "well"}
    broker = told["broker"]
    taken = {way for way, answer in broker["ways"].items() if answer == "taken"}
    assert taken == {"password", "username", "auth:OAUTH2-JWT"}
    assert set(broker["broken_token"]) == taken
    assert all(answer.startswith("refused 0x8") for answer in broker["broken_token"].values())
    assert broker["reauthenticates"] == "by OAUTH2-JWT"
    assert broker["anonymous"].startswith("refused 0x8")
    assert "0x87" in broker["foreign_subscription"]
    assert broker["granted_subscription"] == "c/well/#: taken"
    assert broker["published"] == "d/well/x: taken"
    assert (broker["mqtt5"], broker["mqtt311"]) == (True, True)
    assert broker["connack"]["assigned_client_identifier"]


def test_a_person_reads_the_same(doctor: Doctor) -> None:
    doctor.device("read", "--publish", "d/#")
    outcome = doctor.shell("doctor", "--client-id", "read")
    assert outcome.code == 0, outcome
    for text in ("signature", "give or take", "auth:OAUTH2-JWT: taken", "broken token"):
        assert text in outcome.out
    assert "eyJ" not in outcome.out


def test_who_is_connected_stays_and_what_is_queued_stays_unless_somebody_says_otherwise(
    doctor: Doctor, running: Installation
) -> None:
    secret = doctor.device("busy", "--publish", "d/busy/#", "--subscribe", "d/busy/#")
    token = running.token("busy", secret)
    device = running.client("busy", clean=False)
    device.connect(token)
    assert device.subscribe("d/busy/q") == 1
    doctor.says("--client-id", "busy")
    assert device.publish("d/busy/q", "while connected") in {0, 0x10}
    device.until_message("d/busy/q", "while connected")
    assert device.disconnects == []

    device.drop()
    sender = running.client("")
    sender.connect(token)
    sender.publish("d/busy/q", "while away")
    told = doctor.says("--client-id", "busy", "--take-over")
    assert told["broker"]["client_identifier"] == "busy"
    assert told["broker"]["connack"]["session_present"] is True
    assert "granted_subscription" not in told["broker"]
    again = running.client("busy", clean=False)
    again.connect(token)
    assert again.session_present == [True]
    again.until_message("d/busy/q", "while away")


def test_a_take_over_leaves_no_session_where_there_was_none(
    doctor: Doctor, running: Installation
) -> None:
    secret = doctor.device("fresh")
    told = doctor.says("--client-id", "fresh", "--take-over")
    assert told["broker"]["connack"]["session_present"] is False
    device = running.client("fresh", clean=False)
    device.connect(running.token("fresh", secret))
    assert device.session_present == [False]


def test_the_devices_own_identifier_is_not_used_without_a_word(doctor: Doctor) -> None:
    doctor.device("mine")
    outcome = doctor.shell("doctor", "--client-id", "mine", "--client-identifier", "mine")
    assert outcome.code == 2
    assert "--take-over" in outcome.err


def test_another_devices_identifier_is_told_to_be_the_fault(doctor: Doctor) -> None:
    doctor.device("me")
    told = doctor.says("--client-id", "me", "--client-identifier", "you", code=1)
    assert {"identifier_differs", "no_way_in"} <= codes(told)


def test_a_secret_that_is_wrong_is_the_tokens_fault_and_the_rest_is_looked_at(
    doctor: Doctor,
) -> None:
    doctor.patch.setenv("KEYFOB_CLIENT_SECRET", "wrong-secret")
    doctor.secret = "wrong-secret"
    told = doctor.says("--client-id", "nobody", code=1)
    assert codes(told) == {"token_refused"}
    assert told["issuer"]["clock_skew"]["answers"] == 3
    assert told["broker"]["tls"] == "TLSv1.3"


def test_whom_nobody_trusts_is_told_apart_for_server_and_broker(
    doctor: Doctor, running: Installation, tmp_path: Path
) -> None:
    doctor.device("careful")
    other, own = str(Authority(tmp_path).ca), running.ca
    issuer, broker = running.settings.server.issuer, f"mqtts://localhost:{running.port}"
    at = ("--client-id", "careful", "--issuer", issuer, "--broker", broker)
    told = doctor.says(*at, "--ca", own, "--broker-ca", other, code=1)
    (fault,) = (one for one in told["findings"] if one["severity"] == "wrong")
    assert fault["code"] == "certificate_unknown_ca"
    assert "--broker-ca" in fault["mend"]
    told = doctor.says(*at, "--ca", other, "--broker-ca", own, code=1)
    assert codes(told) == {"certificate_unknown_ca", "token_unavailable"}
    assert told["broker"]["tls"] == "TLSv1.3"


def _subject(running: Installation, secret: str) -> Subject:
    issuer = running.settings.server.issuer
    kind = ClientKind(
        issuer=issuer, grant_type="client_credentials", authentication=("client_secret_basic",)
    )
    source = TokenSource(issuer, client_id="late", client_secret=secret, ca=running.ca)
    return Subject(client=kind, ca=Path(running.ca), source=source, names=("late",))


@pytest.mark.parametrize("wrong", [-7200.0, 7200.0])
def test_a_clock_that_is_wrong_is_told_by_how_much(
    doctor: Doctor, running: Installation, wrong: float
) -> None:
    tell = system_clock()

    def clock() -> Moment:
        now = tell()
        return dataclasses.replace(now, wall=now.wall + wrong)

    report = examine(_subject(running, doctor.device(f"late{wrong:.0f}")), None, clock)
    (found,) = (one for one in report.issuer.findings if one.code == "clock_off")
    assert ("behind" if wrong < 0 else "ahead") in found.what
    skew: Any = report.issuer.facts["clock_skew"]
    assert abs(skew["seconds"] + wrong) <= skew["uncertainty"]


@contextlib.contextmanager
def mosquitto(folder: Path, *lines: str) -> Iterator[Address]:
    """A Mosquitto of its own, without our plugin."""
    program = shutil.which(MOSQUITTO, path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    port = free_port()
    conf = folder / "mosquitto.conf"
    conf.write_text("\n".join([f"listener {port} 127.0.0.1", *lines, ""]), encoding="utf-8")
    with (folder / "mosquitto.log").open("wb") as log:
        process = subprocess.Popen([program, "-c", str(conf)], stdout=log, stderr=log)
    try:
        running = folder / "mosquitto.log"
        wait_for("Mosquitto runs", lambda: b" running" in running.read_bytes())
        yield Address(host="127.0.0.1", port=port)
    finally:
        process.terminate()
        process.wait(20)


def test_a_mosquitto_that_checks_nothing_is_a_grave_finding(doctor: Doctor, tmp_path: Path) -> None:
    doctor.device("open", "--subscribe", "c/#")
    with mosquitto(tmp_path, "allow_anonymous true") as address:
        told = doctor.says("--client-id", "open", "--broker", str(address), code=1)
    grave = {one["code"] for one in told["findings"] if one["severity"] == "grave"}
    assert grave == {"anonymous_allowed", "token_unchecked"}
    assert {"rights_unenforced", "no_reauthentication"} <= codes(told)
    assert told["findings"][0]["severity"] == "grave"


def test_a_mosquitto_that_knows_no_tokens_lets_none_in(doctor: Doctor, tmp_path: Path) -> None:
    doctor.device("shut")
    with mosquitto(tmp_path, "allow_anonymous false") as address:
        told = doctor.says("--client-id", "shut", "--broker", str(address), code=1)
    assert "no_way_in" in codes(told)


def test_a_broker_elsewhere_without_tls_is_shown_nothing(
    doctor: Doctor, running: Installation
) -> None:
    secret = doctor.device("late")
    wish = BrokerWish(
        target=BrokerTarget(address=Address(host="192.0.2.1", port=1883), tls=BrokerTls())
    )
    report = examine(_subject(running, secret), wish, system_clock())
    assert report.broker is not None
    assert [one.code for one in report.broker.findings] == ["broker_without_tls"]
    assert report.broker.facts == {}


def test_a_profile_says_all_of_it_and_its_token_serves_again(
    doctor: Doctor, running: Installation, tmp_path: Path
) -> None:
    doctor.device("kept", "--publish", "d/kept/#")
    doctor.patch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "keyfob").mkdir()
    (tmp_path / "keyfob" / "profiles.toml").write_text(
        f"""["kept"]
issuer = "{running.settings.server.issuer}"
client_id = "kept"
grant = "client_credentials"
client_secret = "env:KEYFOB_CLIENT_SECRET"
ca = "{running.ca}"
broker = "mqtts://localhost:{running.port}"
broker_ca = "{running.ca}"
carry = "auth:ace"
client_identifier = "other"
""",
        encoding="utf-8",
    )
    told = doctor.says("--profile", "kept", code=1)
    assert {"carry_refused", "identifier_differs"} <= codes(told)
    assert told["broker"]["client_identifier"] == "none: the broker assigns one"
    first = told["token"]["jti"]
    assert doctor.says("--profile", "kept", code=1)["token"]["jti"] == first
