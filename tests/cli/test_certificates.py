# SPDX-License-Identifier: Apache-2.0
"""The authority of one machine: what verifiers say of its chain, and when it makes a new one."""

from __future__ import annotations

import datetime
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography import x509

from keyfob.cli.certificates import ensure_certificates
from keyfob.errors import ConfigError
from tests.server.certificates import Authority

NAMES = ["broker.example", "localhost", "127.0.0.1", "::1"]
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
ALL = ["ca.pem", "ca.key", "server.pem", "server.key"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert ensure_certificates(tmp_path, NAMES, now=NOW) == ALL
    return tmp_path


def strict_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def handshake(folder: Path, context: ssl.SSLContext, name: str) -> None:
    """Connect to a server that shows the certificate, and check it for a name."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(folder / "server.pem", folder / "server.key")
    left, right = socket.socketpair()

    def serve() -> None:
        try:
            theirs.wrap_socket(left, server_side=True).close()
        except OSError:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        context.wrap_socket(right, server_hostname=name).close()
    finally:
        right.close()
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_pythons_strict_verification_accepts_the_chain(folder: Path, name: str) -> None:
    handshake(folder, strict_context(folder), name)


def test_another_name_is_not_covered(folder: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(folder, strict_context(folder), "other.example")


def test_openssls_strict_verification_accepts_the_chain(folder: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    done = subprocess.run(
        [openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem",
         "server.pem"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_keys_are_for_their_owner_only(folder: Path) -> None:
    for name in ("ca.key", "server.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_nothing_is_written_while_nothing_is_needed(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert ensure_certificates(folder, NAMES, now=NOW + 360 * DAY) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_month_before_its_end_the_servers_certificate_is_renewed(folder: Path) -> None:
    authority = (folder / "ca.pem").read_bytes()
    old = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    near = old.not_valid_after_utc - 29 * DAY
    assert ensure_certificates(folder, NAMES, now=near) == ["server.pem", "server.key"]
    new = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert new.public_key() != old.public_key()
    assert (folder / "ca.pem").read_bytes() == authority, "devices keep what they trust"
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600


def test_a_name_that_is_missing_makes_a_new_one(folder: Path) -> None:
    names = ["renamed.example", *NAMES]
    assert ensure_certificates(folder, names, now=NOW) == ["server.pem", "server.key"]
    handshake(folder, strict_context(folder), "renamed.example")


def test_an_interrupted_renewal_is_completed(folder: Path) -> None:
    certificate = (folder / "server.pem").read_bytes()
    (folder / "server.pem").unlink()
    ensure_certificates(folder, NAMES, now=NOW)
    (folder / "server.pem").write_bytes(certificate)  # the new key with the old certificate
    assert ensure_certificates(folder, NAMES, now=NOW) == ["server.pem", "server.key"]
    handshake(folder, strict_context(folder), "localhost")


def test_a_lost_authority_makes_everything_new(folder: Path) -> None:
    (folder / "ca.pem").unlink()
    assert ensure_certificates(folder, NAMES, now=NOW) == ALL
    handshake(folder, strict_context(folder), "localhost")


def test_a_certificate_of_somebody_else_is_left_alone(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Authority(elsewhere).certify(folder / "server.pem", folder / "server.key")
    before = (folder / "server.pem").read_bytes()
    assert ensure_certificates(folder, NAMES, now=NOW + 10_000 * DAY) == []
    assert (folder / "server.pem").read_bytes() == before


def test_without_the_authoritys_key_what_is_there_stays_and_what_is_missing_is_an_error(
    folder: Path,
) -> None:
    (folder / "ca.key").unlink()
    assert ensure_certificates(folder, NAMES, now=NOW + 390 * DAY) == []
    (folder / "server.pem").unlink()
    with pytest.raises(ConfigError, match=r"ca\.key is missing"):
        ensure_certificates(folder, NAMES, now=NOW)


@pytest.mark.parametrize("name", ["ca.pem", "server.pem"])
def test_a_file_that_is_no_certificate_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("nonsense")
    with pytest.raises(ConfigError, match=name.replace(".", r"\.")):
        ensure_certificates(folder, NAMES, now=NOW)
