# SPDX-License-Identifier: Apache-2.0
"""Certificates on the command line, and what keyfob.toml says of who is in front."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keyfob.cli.fronting import mutual_tls
from keyfob.cli.installation import Installation, settings_of
from keyfob.cli.server_settings import server_settings
from keyfob.errors import ConfigError
from keyfob.http.proxy import CertificateHeader
from tests.cli.commands import Shell
from tests.server.client_certificates import named, signed


def test_a_device_is_registered_with_a_name_and_shown_so(shell: Shell) -> None:
    added = shell.json("device", "add", "dev1", "--certificate-name", "dns:dev1.example")
    assert "client_secret" not in added
    assert added["authentication"] == "tls_client_auth"
    shown = shell.json("device", "show", "dev1")
    assert shown["certificate_name"] == "dns:dev1.example"
    assert "certificate_bound" not in shown


def test_a_device_is_registered_with_its_certificate(shell: Shell, tmp_path: Path) -> None:
    one = signed(named("dev1"))
    file, _ = one.files(tmp_path, "dev1")
    added = shell.json("device", "add", "dev1", "--certificate", file, "--certificate-bound")
    assert added["certificates"] == one.thumbprint
    assert added["certificate_bound"] is True
    assert added["authentication"] == "self_signed_tls_client_auth"
    jwks = tmp_path / "dev2.jwks"
    jwks.write_text(json.dumps({"keys": [one.jwk]}))
    assert shell.json("device", "add", "dev2", "--certificate", str(jwks))["certificates"] == (
        one.thumbprint
    )


def test_a_device_changes_from_a_secret_to_a_certificate_and_back_is_refused(
    shell: Shell,
) -> None:
    shell.secret("dev1")
    name = ("--certificate-name", "subject:CN=dev1,O=Acme")
    changed = shell.json("device", "set-certificate", "dev1", *name, "--bound")
    assert changed["authentication"] == "client_secret tls_client_auth"
    assert changed["certificate_name"] == "subject:CN=dev1,O=Acme"
    changed = shell.json("device", "set-certificate", "dev1", "--remove-secret", "--not-bound")
    assert changed["authentication"] == "tls_client_auth"
    assert "certificate_bound" not in changed
    refused = shell("device", "set-certificate", "dev1", "--remove")
    assert refused.code == 2
    assert "nothing to authenticate with" in refused.err
    assert "no secret" in shell("device", "rotate-secret", "dev1").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--certificate-name", "dev1.example"),
        ("--certificate-name", "cn:dev1"),
        ("--certificate-name", "dns:"),
        ("--certificate-name", "dns:*.example"),
        ("--certificate-name", "subject:O = Acme, CN = dev1"),
        ("--certificate-name", "ip:10.0.0.0/8"),
        ("--certificate", "none.pem"),
        ("--certificate", "none.pem", "--certificate-name", "dns:dev1.example"),
    ],
)
def test_what_cannot_be_meant_registers_nobody(shell: Shell, arguments: tuple[str, ...]) -> None:
    for kind in ("device", "application"):
        outcome = shell(kind, "add", "dev1", *arguments)
        assert outcome.code == 2
        assert "(config_invalid)" in outcome.err
        assert shell.json(kind, "list") == []


def test_an_application_has_a_certificate_instead_of_a_secret(shell: Shell) -> None:
    added = shell.json("application", "add", "backend", "--certificate-name", "uri:urn:backend")
    assert "client_secret" not in added
    assert not shell.json("application", "list")[0]["public"]
    name = ("--certificate-name", "email:backend@example.com")
    assert "other certificate" in shell.ok("application", "set-certificate", "backend", *name).out
    assert shell("application", "set-certificate", "backend", "--remove").code == 2
    assert shell("application", "add", "open", "--public", *name).code == 2


def written(installation: Installation, text: str) -> Installation:
    path = installation.settings.path
    before, section, after = path.read_text().partition("[server]\n")
    path.write_text(before + section + text.split("[", 1)[0] + after)
    if "[" in text:
        with path.open("a") as file:
            file.write("\n[" + text.split("[", 1)[1])
    return settings_of(installation.directory)


def test_the_proxy_of_the_documentation_is_what_it_says(installation: Installation) -> None:
    page = Path(__file__).parents[2] / "docs" / "client-authentication.md"
    text = page.read_text().partition("```toml\n")[2].partition("```")[0]
    assert text.startswith("[server.proxy]")
    made = mutual_tls(written(installation, text).settings)
    assert made.proxies is not None
    assert made.proxies.trusts("127.0.0.1")
    assert made.proxies.certificate == CertificateHeader(
        name="x-client-cert", verification="x-client-verify"
    )
    assert made.methods == ("tls_client_auth", "self_signed_tls_client_auth")


def test_nothing_written_trusts_nobody(installation: Installation) -> None:
    made = server_settings(installation.settings).mutual_tls
    assert (made.possible, made.proxies, made.methods) == (False, None, ())


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("certificate_bound_tokens = true\n", "server.certificate_bound_tokens"),
        ('mtls_url = "https://a.example"\n', "server.mtls_url"),
        ('[server.proxy]\ntrusted = ["proxy"]', "server.proxy.trusted"),
        ('[server.proxy]\ntrusted = ["0.0.0.0/0"]', "server.proxy.trusted"),
        ('[server.proxy]\ncertificate_header = "X-C"', "server.proxy.certificate_header"),
        ('[server.proxy]\nverification_header = "X-C"', "server.proxy.verification_header"),
        ("[server.proxy]\nonly_verified = true", "server.proxy.only_verified"),
        (
            '[server.proxy]\ntrusted = ["10.0.0.1"]\ncertificate_header = "Host"',
            "server.proxy.certificate_header",
        ),
        ('client_ca = "none.pem"\n', "server.client_ca"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(
    installation: Installation, shell: Shell, text: str, key: str
) -> None:
    written(installation, text)
    outcome = shell("config", "check")
    assert outcome.code == 2
    assert key in outcome.err
    assert "keyfob.toml:" in outcome.err


def test_a_wrong_proxy_stops_the_server_before_it_listens(installation: Installation) -> None:
    changed = written(installation, '[server.proxy]\ntrusted = ["::/0"]')
    with pytest.raises(ConfigError, match="everybody"):
        server_settings(changed.settings)
