# SPDX-License-Identifier: Apache-2.0
"""`keyfob server` and `keyfob guard` as real processes: ready, signals, exit codes, the socket."""

from __future__ import annotations

import grp
import os
import signal
import socket
import ssl
import stat
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from keyfob.cli.initialising import renew
from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register
from keyfob.server.wishes import DeviceWish
from keyfob.tokens.sign import SigningKey
from tests.cli.commands import started, wait_for
from tests.server.assertions import claims_for, jwks_of, signed
from tests.server.granting import JWT_BEARER

TRUSTED = """
[[server.trusted_issuer]]
name = "cloud"
issuer = "https://cloud.example"
devices = ["dev*"]
jwks_file = "keys.json"
without_client = true
"""


def shown_certificate(installation: Installation) -> x509.Certificate:
    context = ssl.create_default_context(cafile=installation.directory / "ca.pem")
    port = installation.settings.server.port
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as encrypted,
    ):
        raw = encrypted.getpeercert(binary_form=True)
    assert raw is not None
    return x509.load_der_x509_certificate(raw)


def configure(installation: Installation, lines: str) -> None:
    """Put lines into the guard's section."""
    path = installation.settings.path
    path.write_text(path.read_text().replace("[guard]", f"[guard]\n{lines}"))


@pytest.mark.parametrize(("part", "number"), [("server", signal.SIGINT), ("guard", signal.SIGTERM)])
def test_told_to_stop_it_ends_with_0_and_no_traceback(
    installation: Installation, tmp_path: Path, part: str, number: signal.Signals
) -> None:
    configure(installation, "ready_timeout = 0.1")
    log = tmp_path / "log"
    with started(log, part, "--dir", str(installation.directory)) as program:
        program.until("ready at")
        if part == "guard":
            socket_file = installation.settings.guard.socket
            assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
        program.process.send_signal(number)
        assert program.wait() == 0
        assert "Traceback" not in program.output()


def test_sighup_shows_a_renewed_certificate_and_a_broken_one_is_not_taken(
    installation: Installation, tmp_path: Path
) -> None:
    server = installation.settings.server
    with started(tmp_path / "log", "server", "--dir", str(installation.directory)) as program:
        program.until("ready at")
        old = shown_certificate(installation)
        server.certificate.unlink()
        renew(installation)
        assert shown_certificate(installation) == old
        program.process.send_signal(signal.SIGHUP)
        program.until("read the certificate again")
        new = shown_certificate(installation)
        assert new != old
        server.certificate.write_text("nonsense")
        program.process.send_signal(signal.SIGHUP)
        program.until("the old certificate stays")
        assert shown_certificate(installation) == new


def test_sighup_opens_the_audit_file_anew(installation: Installation, tmp_path: Path) -> None:
    audit = installation.settings.server.audit
    with started(tmp_path / "log", "server", "--dir", str(installation.directory)) as program:
        program.until("ready at")
        audit.rename(tmp_path / "old")
        program.process.send_signal(signal.SIGHUP)
        program.until("read the certificate again")
        assert audit.exists()


def test_sighup_reads_the_trusted_issuers_again_and_wrong_ones_are_not_taken(
    installation: Installation, tmp_path: Path
) -> None:
    path, key = installation.settings.path, SigningKey.generate()
    before = path.read_text()
    url = installation.settings.server.issuer
    context = ssl.create_default_context(cafile=installation.directory / "ca.pem")
    with open_register(installation) as register:
        register.add_device(DeviceWish("dev1"))
        register.allow_grant("dev1", "jwt-bearer")
    (installation.directory / "keys.json").write_bytes(jwks_of(key))

    def ask() -> httpx.Response:
        claims = claims_for(time.time(), "dev1", iss="https://cloud.example", aud=url)
        form = {"grant_type": JWT_BEARER, "assertion": signed(key, claims)}
        return httpx.post(f"{url}/oauth2/token", data=form, verify=context, trust_env=False)

    def grants() -> list[str]:
        where = f"{url}/.well-known/oauth-authorization-server"
        answer = httpx.get(where, verify=context, trust_env=False).json()
        return [*answer["grant_types_supported"]]

    with started(tmp_path / "log", "server", "--dir", str(installation.directory)) as program:
        program.until("ready at")
        assert ask().is_error
        assert JWT_BEARER not in grants()
        path.write_text(before + TRUSTED)
        program.process.send_signal(signal.SIGHUP)
        program.until("trusted issuers are now: cloud")
        assert ask().status_code == 200, program.output()
        assert JWT_BEARER in grants()
        for number, wrong in enumerate(("nonsense = [", TRUSTED.replace("dev*", "*")), 1):
            path.write_text(before + wrong)
            program.process.send_signal(signal.SIGHUP)
            wait_for("its word", lambda n=number: program.output().count("issuers stay:") == n)
            assert ask().status_code == 200
        path.write_text(before)
        program.process.send_signal(signal.SIGHUP)
        program.until("trusted issuers are now: none")
        assert ask().is_error


def test_a_taken_port_is_one_line(installation: Installation, tmp_path: Path) -> None:
    port = installation.settings.server.port
    with (
        socket.create_server(("127.0.0.1", port)),
        started(tmp_path / "log", "server", "--dir", str(installation.directory)) as program,
    ):
        assert program.wait() == 2
        assert f"port {port}" in program.output()
        assert program.output().count("\n") == 1


def test_the_guards_socket_is_open_to_the_group_that_is_named(
    installation: Installation, tmp_path: Path
) -> None:
    group = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getegid())
    configure(installation, f'ready_timeout = 0.1\nsocket_group = "{group.gr_name}"')
    with started(tmp_path / "log", "guard", "--dir", str(installation.directory)) as program:
        program.until("ready at")
        status = installation.settings.guard.socket.stat()
        assert stat.S_IMODE(status.st_mode) == 0o660
        assert status.st_gid == group.gr_gid


def test_a_group_that_does_not_exist_is_one_line(
    installation: Installation, tmp_path: Path
) -> None:
    configure(installation, 'ready_timeout = 0.1\nsocket_group = "no-such-group"')
    with started(tmp_path / "log", "guard", "--dir", str(installation.directory)) as program:
        assert program.wait() == 2
        assert "there is no group 'no-such-group'" in program.output()
        assert "Traceback" not in program.output()
