# SPDX-License-Identifier: Apache-2.0
"""The same commands, on a server somewhere else: over TLS, through its admin API."""

from __future__ import annotations

import io
import json
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyfob.cli.installation import Installation
from keyfob.server.admin_scopes import DEVICES_READ
from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Outcome, Shell
from tests.server.assertions import jwks_of


@pytest.fixture
def remote(
    online: Shell, serving: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Remote:
    made = online.json("service", "add", f"ops-{time.monotonic_ns()}", "--admin")
    file = tmp_path / "ops.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(made))
    monkeypatch.chdir(tmp_path)  # where there is no installation
    return Remote(online, serving.settings.server.issuer, serving.directory / "ca.pem", file, made)


class Remote:
    """Commands for a server that only its URL is known of."""

    def __init__(self, shell: Shell, url: str, ca: Path, file: Path, made: Any) -> None:
        self.shell, self.url, self.ca, self.file, self.made = shell, url, ca, file, made

    def __call__(self, *arguments: str, file: Path | None = None) -> Outcome:
        options = ("--server", self.url, "--ca", str(self.ca))
        credentials = ("--credentials", str(file or self.file))
        return self.shell.plain(*options, *credentials, *arguments)

    def json(self, *arguments: str) -> Any:
        outcome = self(*arguments, "--json")
        assert outcome.code == 0, outcome
        return outcome.json


def test_a_device_lives_its_life_and_the_local_commands_see_the_same(remote: Remote) -> None:
    here, name = remote.shell, f"dev-{time.monotonic_ns()}"
    made = remote.json("device", "add", name, "--publish", "a/{device}", "--scope", "x y")
    assert made["scope"] == f"mqtt.connect mqtt.publish:a/{name} x y"
    assert made["client_secret"].startswith("kfs_")
    for arguments in (("device", "show", name), ("audit", name), ("device", "list")):
        assert remote.json(*arguments) == here.json(*arguments)
        assert remote(*arguments).out == here.ok(*arguments).out
    remote.json("device", "set", name, "--lifetime", "60", "--no-rights")
    shown = here.json("device", "show", name)
    assert (shown["scope"], shown["lifetime"]) == ("mqtt.connect", 60)
    assert remote.json("device", "disable", name)["state"] == "disabled"
    remote.json("device", "enable", name)
    assert remote.json("device", "rotate-secret", name)["client_secret"] != made["client_secret"]
    remote.json("device", "revoke-tokens", name)
    remote.json("device", "remove", name)
    assert here("device", "show", name).code == 2
    lines = here.json("audit", name)
    assert {line["actor"] for line in lines} == {f"service:{remote.made['client_id']}"}
    assert [line["action"] for line in lines][:2] == ["device.add", "device.set"]


def test_keys_applications_services_and_registration_tokens_too(
    remote: Remote, tmp_path: Path
) -> None:
    stamp = time.monotonic_ns()
    jwks = tmp_path / "keys.json"
    jwks.write_bytes(jwks_of(SigningKey.generate()))
    device, app, service, token = (f"{kind}-{stamp}" for kind in ("d", "a", "s", "t"))
    assert "client_secret" not in remote.json("device", "add", device, "--jwks", str(jwks))
    remote.json("device", "set-jwks", device, str(jwks))
    assert remote.json("application", "add", app, "--refresh")["client_secret"]
    remote.json("application", "set-jwks", app, str(jwks), "--remove-secret")
    assert app in [one["client_id"] for one in remote.json("application", "list")]
    remote.json("application", "remove", app)
    remote.json("application", "add", f"{app}-2", "--device-code")
    (by_code,) = [
        one for one in remote.json("application", "list") if one["client_id"] == f"{app}-2"
    ]
    assert by_code["grant_types"] == "urn:ietf:params:oauth:grant-type:device_code"
    remote.json("application", "remove", f"{app}-2")
    remote.json("service", "add", service, "--scope", "keyfob.revocations")
    assert service in [one["client_id"] for one in remote.json("service", "list")]
    remote.json("service", "remove", service)
    made = remote.json("registration-token", "add", token, "--uses", "2", "--prefix", "t-")
    assert made["initial_access_token"].startswith("kfi_")
    (listed,) = [one for one in remote.json("registration-token", "list") if one["name"] == token]
    assert (listed["uses_left"], listed["prefix"]) == (2, "t-")
    remote.json("registration-token", "remove", token)
    (signing,) = [one for one in remote.json("key", "list") if one["state"] == "signing"]
    assert remote("key", "remove", signing["kid"], "--json").json["error"] == "conflict"


def test_an_error_is_the_one_that_the_register_itself_would_raise(remote: Remote) -> None:
    here, name = remote.shell, f"dev-{time.monotonic_ns()}"
    here.ok("device", "add", name)
    for arguments in (
        ("device", "add", name),
        ("device", "show", "nobody"),
        ("device", "add", "x-", "--publish", "$share/a/b"),
        ("device", "add", "auto-1"),
        ("application", "remove", name),
    ):
        far, near = remote(*arguments, "--json"), here(*arguments, "--json")
        assert (far.code, far.json["error"]) == (near.code, near.json["error"]), arguments


def test_a_pasted_secret_gets_into_no_url_and_no_output(remote: Remote) -> None:
    outcome = remote("device", "show", "kfs_pasted-secret-of-somebody")
    assert outcome.code == 2
    assert "pasted" not in outcome.out + outcome.err


def test_a_service_that_may_not_is_refused(remote: Remote, tmp_path: Path) -> None:
    few = remote.shell.json("service", "add", f"few-{time.monotonic_ns()}", "--scope", DEVICES_READ)
    file = tmp_path / "few.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(few))
    assert remote("device", "list", file=file).code == 0
    outcome = remote("device", "add", "x", "--json", file=file)
    assert (outcome.code, outcome.json["error"]) == (1, "scope_missing")
    file.write_text(json.dumps(few | {"client_secret": "kfs_wrong"}))
    outcome = remote("device", "list", "--json", file=file)
    assert (outcome.code, outcome.json["error"]) == (1, "token_inactive")
    guard = remote.shell.json(
        "service", "add", f"guard-{time.monotonic_ns()}", "--scope", "keyfob.revocations"
    )
    file.write_text(json.dumps(guard))
    assert remote("device", "list", "--json", file=file).json["error"] == "scope_missing"


def test_credentials_come_from_the_environment_or_a_private_file(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = remote.shell.plain
    options = ("--server", remote.url, "--ca", str(remote.ca))
    assert plain(*options, "device", "list").code == 2
    monkeypatch.setenv("KEYFOB_CLIENT_ID", remote.made["client_id"])
    monkeypatch.setenv("KEYFOB_CLIENT_SECRET", remote.made["client_secret"])
    assert plain(*options, "device", "list").code == 0
    monkeypatch.setenv("KEYFOB_SERVER", remote.url)
    monkeypatch.setenv("KEYFOB_CA", str(remote.ca))
    assert plain("device", "list").code == 0
    remote.file.chmod(0o644)
    outcome = remote("device", "list")
    assert outcome.code == 2
    assert "chmod 600" in outcome.err


def test_a_server_without_a_trusted_certificate_learns_nothing(remote: Remote) -> None:
    outcome = remote.shell.plain(
        "--server", remote.url, "--credentials", str(remote.file), "device", "list", "--json"
    )
    assert (outcome.code, outcome.json["error"]) == (2, "upstream_unavailable")
    assert remote.made["client_secret"] not in outcome.out


@pytest.mark.parametrize(
    "url",
    [
        *("http://as.example", "ftp://x", "as.example", "https://a@b", ""),
        *("https://[::1", "https://a:b", "https://a:99999", "https://a\n", "https://a b"),
        *("http://id:word@localhost", "http://localhost?x", "http://localhost#x"),
    ],
)
def test_what_is_no_https_server_is_asked_for_nothing(remote: Remote, url: str) -> None:
    outcome = remote.shell.plain(
        "--server", url, "--credentials", str(remote.file), "device", "list", "--json"
    )
    assert outcome.code == 2
    assert outcome.json["error"] in ("config_invalid", "usage")
    assert "word" not in outcome.out


def test_a_command_of_this_machine_refuses_a_server(remote: Remote) -> None:
    for arguments, why in (
        (("config", "check"), "configuration file of this machine"),
        (("database", "check"), "opens the database itself"),
        (("token", "--client-id", "dev1"), "asks an authorization server as a device"),
        (("mosquitto", "config"), "Mosquitto of this machine"),
    ):
        outcome = remote(*arguments)
        assert outcome.code == 2
        assert f"`keyfob {arguments[0]}`" in outcome.err
        assert why in outcome.err
        assert "--server goes with" in outcome.err


def test_grants_of_another_register_are_not_changed_in_silence(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment names a server: it is asked, never the installation that is here."""
    name = f"gw{time.monotonic_ns()}"
    remote.shell.ok("device", "add", name)
    monkeypatch.setenv("KEYFOB_SERVER", remote.url)
    monkeypatch.setenv("KEYFOB_CA", str(remote.ca))
    monkeypatch.setenv("KEYFOB_CREDENTIALS", str(remote.file))
    remote.shell.ok("grant", "allow", name, "token-exchange", "--act-for", f"{name}-*")
    monkeypatch.delenv("KEYFOB_SERVER")
    shown = remote.shell.json("grant", "show", name)
    assert shown["may_act_for"] == [f"{name}-*"]
    actors = [(one["actor"], one["action"]) for one in remote.shell.json("audit", name)]
    assert actors[-1] == (f"service:{remote.made['client_id']}", "grant.allow")


def test_grants_are_those_of_the_local_command(remote: Remote) -> None:
    here, name = remote.shell, f"gw{time.monotonic_ns()}"
    here.ok("device", "add", name)
    act_for = ("--act-for", f"{name}-*")
    allowed = remote.json("grant", "allow", name, "token-exchange", *act_for)
    assert allowed == remote.json("grant", "allow", name, "token-exchange")
    for arguments in (("grant", "show", name), ("grant", "allow", name, "password"),
                      ("grant", "show", "nobody"), ("grant", "allow", name, "x", *act_for),
                      ("grant", "allow", name, "token-exchange", "--act-for", "*")):  # fmt: skip
        far, near = remote(*arguments, "--json"), here(*arguments, "--json")
        assert (far.code, far.json.get("error")) == (near.code, near.json.get("error")), arguments
        assert far.code or far.out == near.out
    shown = remote.json("grant", "withdraw", name, "token-exchange")
    assert (shown["grant_types"], shown["may_act_for"]) == (["client_credentials"], [])
    assert remote.json("grant", "withdraw", name, "token-exchange") == shown


def test_operators_are_made_there_and_their_passwords_never_come_back(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, name = remote.shell, f"alice{time.monotonic_ns()}"
    made = remote.json("operator", "add", name, "--generate")["password"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    assert remote.json("operator", "set-password", name) == {"name": name}
    assert remote.json("operator", "add", f"{name}-2", "--openid", f"{name}@there")
    assert remote.json("operator", "list") == here.json("operator", "list")
    assert made not in remote("operator", "list").out + here.ok("audit").out
    assert remote("operator", "add", name, "--generate", "--json").json["error"] == "conflict"
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    refused = remote("operator", "set-password", name)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "between 12 and 1024 characters" in refused.err
    remote.json("operator", "remove", name)
    remote.json("operator", "remove", f"{name}-2")
    assert remote("operator", "remove", name, "--json").json["error"] == "not_found"
    actions = [one["action"] for one in here.json("audit", name)]
    assert actions[:2] == ["operator.add", "operator.set-password"]


def test_receivers_are_added_there_and_their_secret_never_comes_back(
    remote: Remote, tmp_path: Path
) -> None:
    here, name = remote.shell, f"guard{time.monotonic_ns()}"
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    options = ("--url", "https://guard.example/events", "--authorization-file", str(secret))
    made = remote.json("receiver", "add", name, *options, "--ca", str(remote.ca))
    assert (made["authorization"], made["ca"]) == ("Bearer", "its own")
    assert made in remote.json("receiver", "list")
    for arguments in (("receiver", "list"), ("receiver", "status", name)):
        assert remote(*arguments).out == here.ok(*arguments).out
    assert "0123456789abcdef" not in remote("receiver", "status", name, "--json").out
    assert remote("receiver", "add", name, *options, "--json").json["error"] == "conflict"
    plain = remote("receiver", "add", f"{name}-2", "--url", "http://127.0.0.1:9/")
    assert (plain.code, plain.err.count("\n")) == (2, 1)
    assert "added there" in plain.err
    remote.json("receiver", "remove", name)
    assert remote("receiver", "status", name, "--json").json["error"] == "not_found"


def test_certificates_are_registered_there(remote: Remote) -> None:
    here, stamp = remote.shell, time.monotonic_ns()
    device, app = f"cd{stamp}", f"ca{stamp}"
    pinned = ("--certificate", str(remote.ca.parent / "server.pem"))
    named = ("--certificate-name", "dns:d.example")
    for kind, name in (("device", device), ("application", app)):
        made = remote.json(kind, "add", name, *named, "--certificate-bound")
        assert "client_secret" not in made
        remote.json(kind, "set-certificate", name, *pinned, "--not-bound")
        assert _shown(remote.json(kind, "list"), name) == _shown(here.json(kind, "list"), name)
        for wrong in (("--remove",), ("--certificate-name", "dns:/"), ("--certificate-name", "x")):
            far = remote(kind, "set-certificate", name, *wrong, "--json")
            near = here(kind, "set-certificate", name, *wrong, "--json")
            assert (
                (far.code, far.json["error"])
                == (near.code, near.json["error"])
                == (*(2, "config_invalid"),)
            ), wrong
    shown = here.json("device", "show", device)
    assert "certificate_name" not in shown
    assert len(shown["certificates"]) == 43
    both = remote.json("device", "add", f"{device}-2", "--certificate-bound")
    assert both["client_secret"]
    assert here.json("device", "show", f"{device}-2")["certificate_bound"] is True


def _shown(listed: Any, name: str) -> Any:
    (found,) = [one for one in listed if one["client_id"] == name]
    return found


def test_a_row_with_a_certificate_needs_no_file_for_secrets(remote: Remote, tmp_path: Path) -> None:
    file, name = tmp_path / "fleet.jsonl", f"c{time.monotonic_ns()}"
    certificate = {"tls_client_auth_san_dns": "d.example"}
    rows = [
        {"device": name, "metadata": certificate},
        {"device": f"{name}-2", "metadata": {"registration_access_hash": "x"}},
        {"device": f"{name}-3", "metadata": {"tls_client_auth_san_dns": "/"}},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = remote.json("device", "import", str(file))
    assert (done["registered"], done["rejected"]) == (1, 2)
    shown = remote.json("device", "show", name)
    assert shown == remote.shell.json("device", "show", name)
    assert shown["certificate_name"] == "dns:d.example"
    file.write_text(json.dumps({"device": f"{name}-4", "metadata": {"client_name": "x"}}))
    assert remote("device", "import", str(file)).code == 2  # its secret would be nobody's


def test_a_row_that_is_no_utf_8_is_rejected_and_the_rest_is_loaded(
    remote: Remote, tmp_path: Path
) -> None:
    file, name = tmp_path / "fleet.csv", f"u{time.monotonic_ns()}"
    file.write_bytes(f"device,publish\n{name},a/tür\n{name}-2,b\n".encode("latin-1"))
    done = remote.json("device", "import", str(file), "--secrets-out", str(tmp_path / "s.csv"))
    assert (done["registered"], done["rejected"]) == (1, 1)
    assert remote.shell("device", "show", name).code == 2


def test_a_device_registers_with_a_token_of_the_command_line(remote: Remote) -> None:
    token = remote.json("registration-token", "add", f"l-{time.monotonic_ns()}")
    answer = httpx.post(
        f"{remote.url}/oauth2/register",
        headers={"Authorization": f"Bearer {token['initial_access_token']}"},
        json={},
        verify=ssl.create_default_context(cafile=remote.ca),
        trust_env=False,
    )
    assert answer.status_code == 201
    remote.shell.ok("device", "show", answer.json()["client_id"])


def test_groups_and_many_devices_at_a_server_somewhere_else(remote: Remote, tmp_path: Path) -> None:
    here, stamp = remote.shell, time.monotonic_ns()
    group, file = f"g{stamp}", tmp_path / "fleet.jsonl"
    remote.json("group", "add", group, "--publish", "g/{device}", "--lifetime", "900")
    remote.json("group", "set", group, "--subscribe", "c/{device}", "--clear", "lifetime")
    assert remote.json("group", "show", group) == here.json("group", "show", group)
    assert group in [one["group"] for one in remote.json("group", "list")]
    names = [f"m{stamp}-{number}" for number in range(3)]
    rows = [{"device": name, "groups": [group], "labels": {"n": str(stamp)}} for name in names]
    rows += [{"device": names[0]}, {"device": "/"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    secrets = tmp_path / "secrets.jsonl"
    done = remote.json("device", "import", str(file), "--secrets-out", str(secrets))
    assert (done["registered"], done["rejected"]) == (3, 2)
    made = {line["device"]: line["secret"] for line in map(json.loads, _lines(secrets))}
    assert set(made) == set(names)
    rejects = (tmp_path / "fleet.jsonl.rejects.csv").read_text()
    assert [line.split(",")[0] for line in rejects.splitlines()] == ["row", "4", "5"]
    shown = remote.json("device", "show", names[0])
    assert (
        shown["token_scope"]
        == f"mqtt.connect mqtt.publish:g/{names[0]} mqtt.subscribe:c/{names[0]}"
    )
    label = ("--label", f"n={stamp}")
    assert [one["client_id"] for one in remote.json("device", "list", *label)] == names
    exported = remote("device", "export", *label, "--format", "jsonl").out
    assert exported == here.ok("device", "export", *label, "--format", "jsonl").out
    assert remote("device", "export", *label).code == 2  # CSV
    new = tmp_path / "new.csv"
    rotated = remote.json("device", "rotate", *label, "--overlap", "1h", "--secrets-out", str(new))
    assert rotated["devices"] == 3
    assert len(_lines(new)) == 4
    file.write_text("\n".join([*names[:2], "nobody"]))
    disabled = remote("device", "disable", "--file", str(file), "--json")
    assert (disabled.code, disabled.json["devices"], disabled.json["missing"]) == (2, 2, 1)
    states = [one["state"] for one in here.json("device", "list", *label)]
    assert states == ["disabled", "disabled", "active"]
    assert remote("device", "disable", *label).code == 0
    remote.json("device", "set", names[0], "--no-group", group, "--label", "x=y")
    remote.json("group", "remove", group)


@pytest.mark.parametrize("command", ["group", "registration-token"])
def test_a_list_comes_by_page_and_is_the_same_here_and_there(remote: Remote, command: str) -> None:
    here, begin = remote.shell, f"p{time.monotonic_ns()}-"
    for number in (3, 1, 2):
        remote.json(command, "add", f"{begin}{number}")
    place = (command, "list", "--after", begin, "--limit", "2")
    name = "group" if command == "group" else "name"
    assert [one[name] for one in remote.json(*place)] == [f"{begin}1", f"{begin}2"]
    assert remote.json(*place) == here.json(*place)
    assert remote(*place).out == here.ok(*place).out
    assert remote(*place).out.splitlines()[-1] == f"more may follow: --after {begin}2"
    behind = (command, "list", "--after", f"{begin}2", "--limit", "1")
    assert [one[name] for one in remote.json(*behind)] == [f"{begin}3"]
    assert remote.json(command, "list", "--after", "zzzz") == []


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()
