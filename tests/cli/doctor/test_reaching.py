# SPDX-License-Identifier: Apache-2.0
"""The way to a server, each fault by its own name; against real sockets and certificates."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.doctor.finding import Finding, Section
from keyfob.cli.doctor.reaching import Server, reach
from keyfob.findings import Severity
from tests.cli.doctor.tls_server import DAY, listening, showing
from tests.free_ports import free_port
from tests.server.certificates import Authority

MONTH = datetime.timedelta(days=30)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def reached(port: int, authority: Authority | None, **changes: Any) -> Section:
    context = ssl.create_default_context(cafile=authority.ca) if authority else None
    values: dict[str, Any] = {"host": "localhost", "ca_option": "--ca", "timeout": 5.0}
    return reach(Server(port=port, context=context, **values | changes), time.time())


def only(section: Section) -> Finding:
    (finding,) = section.findings
    return finding


def test_a_server_that_is_well_is_reached(authority: Authority, tmp_path: Path) -> None:
    with showing(authority, tmp_path, until=MONTH) as port:
        section = reached(port, authority)
    assert section.findings == ()
    assert section.facts["tls"] == "TLSv1.3"
    assert section.facts["addresses"]
    assert str(section.facts["certificate_until"]).startswith("20")


def test_without_tls_a_port_that_listens_is_enough() -> None:
    with listening(lambda _: None) as port:
        assert reached(port, None).findings == ()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"name": "other.example"}, "certificate_wrong_name", "other.example"),
        ({"since": -3 * DAY, "until": -DAY}, "certificate_expired", "clock says"),
        ({"since": DAY, "until": MONTH}, "certificate_not_yet_valid", "clock says"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_named(
    changes: dict[str, Any], code: str, words: str, authority: Authority, tmp_path: Path
) -> None:
    with showing(authority, tmp_path, **changes) as port:
        finding = only(reached(port, authority))
    assert finding.code == code
    assert words in finding.what


def test_a_certificate_of_the_future_is_the_clocks_fault_before_anybody_elses(
    authority: Authority, tmp_path: Path
) -> None:
    with showing(authority, tmp_path, since=DAY, until=MONTH) as port:
        assert "clock" in only(reached(port, authority)).mend


def test_an_authority_that_nobody_trusts_is_named_and_how_to_trust_it(
    authority: Authority, tmp_path: Path
) -> None:
    with showing(Authority(tmp_path), tmp_path) as port:
        finding = only(reached(port, authority, ca_option="--broker-ca"))
    assert finding.code == "certificate_unknown_ca"
    assert "test authority" in finding.what
    assert "--broker-ca FILE" in finding.mend


def test_a_certificate_that_ends_soon_is_worth_a_word(authority: Authority, tmp_path: Path) -> None:
    with showing(authority, tmp_path) as port:
        finding = only(reached(port, authority))
    assert (finding.code, finding.severity) == ("certificate_ends_soon", Severity.NOTE)


def test_a_port_where_nobody_listens_is_told() -> None:
    assert only(reached(free_port(), None)).code == "port_closed"


def test_a_port_that_speaks_no_tls_is_told(authority: Authority) -> None:
    with listening(lambda connection: connection.sendall(b"220 hello\r\n")) as port:
        assert only(reached(port, authority)).code == "tls_failed"


def test_a_server_that_hangs_up_at_tls_is_told(authority: Authority) -> None:
    with listening(lambda connection: connection.recv(1)) as port:
        assert only(reached(port, authority)).code == "tls_failed"


def test_a_server_that_says_nothing_is_told(authority: Authority) -> None:
    def be_silent(connection: socket.socket) -> None:
        connection.settimeout(10)
        while connection.recv(1000):
            pass

    with listening(be_silent) as port:
        assert only(reached(port, authority, timeout=0.2)).code == "no_answer"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", "x" * 70 + ".invalid"])
def test_a_name_that_has_no_address_is_told(host: str) -> None:
    assert only(reached(1, None, host=host)).code == "name_unresolved"
