# SPDX-License-Identifier: Apache-2.0
"""`keyfob config`: whether a configuration is good, and where each of its values came from."""

from __future__ import annotations

import json
import subprocess

import pytest

from keyfob.cli.installation import Installation
from keyfob.tokens.sign import SigningKey
from tests.cli.commands import KEYFOB, Shell

KEY = SigningKey.generate("ES256")
JWKS = json.dumps({"keys": [KEY.public_jwk()]})
ISSUER = f"""
[[issuer]]
name = "inline"
issuer = "https://inline.example"
audience = ["mqtt"]
jwks = '{JWKS}'
"""


def add(shell: Shell, text: str) -> int:
    """Add to the configuration; return the number of the first new line."""
    path = shell.directory / "keyfob.toml"
    before = path.read_text(encoding="utf-8")
    path.write_text(before + text, encoding="utf-8")
    return before.count("\n") + 1


def refusal(shell: Shell) -> str:
    outcome = shell("config", "check")
    assert (outcome.code, outcome.out) == (2, "")
    start, end = f"keyfob: {shell.directory}/keyfob.toml:", " (config_invalid)\n"
    assert outcome.err.startswith(start), outcome.err
    assert outcome.err.endswith(end)
    assert outcome.err.count("\n") == 1
    as_json = shell("config", "check", "--json")
    assert as_json.code == 2
    assert as_json.json["error"] == "config_invalid"
    return outcome.err[len(start) : -len(end)]


# check


def test_a_new_installation_is_good(shell: Shell) -> None:
    outcome = shell.ok("config", "check")
    *_, empty, last = outcome.out.splitlines()
    assert (empty, last) == ("", f"good: {shell.directory}/keyfob.toml")


def test_each_issuer_has_a_line(shell: Shell) -> None:
    add(shell, ISSUER + 'rights = ["aif"]\n[[issuer.policy]]\nscope = "a"\npublish = ["a/#"]\n')
    add(shell, ISSUER.replace("inline", "hydra") + 'preset = "hydra"\n[issuer.introspection]\n')
    add(shell, 'client_id = "guard"\nclient_secret = "file:guard.secret"\n')
    head, *rows = shell.ok("config", "check").out.partition("\n\n")[0].splitlines()
    assert head.split() == ["NAME", "ISSUER", "PRESET", "KEYS", "INTROSPECTION", "RIGHTS"]
    assert [row.split()[0] for row in rows] == ["keyfob", "inline", "hydra"]
    document = shell.json("config", "check")
    assert document["good"] is True
    assert document["issuers"][1:] == [
        {
            "name": "inline",
            "issuer": "https://inline.example",
            "preset": "",
            "keys": "in the section",
            "introspection": "",
            "rights": "aif, 1 policy row",
        },
        {
            "name": "hydra",
            "issuer": "https://hydra.example",
            "preset": "hydra",
            "keys": "in the section",
            "introspection": "opaque",
            "rights": "scopes",
        },
    ]


def test_keys_in_a_file_and_at_an_address_are_told(shell: Shell) -> None:
    (shell.directory / "keys.json").write_text(JWKS, encoding="utf-8")
    plain = ISSUER.rpartition("jwks = ")[0]
    add(shell, plain + 'jwks_file = "keys.json"\n')
    add(shell, plain.replace("inline", "b") + 'jwks_uri = "https://b.example/keys"\n')
    rows = shell.json("config", "check")["issuers"]
    assert [row["keys"] for row in rows] == [
        "by discovery",
        f"{shell.directory}/keys.json",
        "https://b.example/keys",
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (ISSUER + 'algoritms = ["ES256"]\n', "6: issuer.1.algoritms", "write algorithms"),
        (ISSUER + 'algorithms = ["HS256"]\n', "6: issuer.1.algorithms", "can mint tokens"),
        (ISSUER + "algorithms = []\n", "6: issuer.1.algorithms", "write for example"),
        (ISSUER + "types = []\n", "6: issuer.1.types", 'write ["at+jwt"]'),
        (ISSUER + 'device_claim = ""\n', "6: issuer.1.device_claim", "name the claim"),
        (ISSUER + 'client_id_template = "x"\n', "6: issuer.1.client_id_template", "write one"),
        (ISSUER.replace(JWKS, "{}"), "5: issuer.1.jwks", "write a JWK Set as JSON"),
        (ISSUER.replace(JWKS, '{"keys":[]}'), "5: issuer.1.jwks", "no usable public key"),
        (
            ISSUER.replace(JWKS, '{"keys":[{"kty":"oct","k":"aHVudGVyMg"}]}'),
            "5: issuer.1.jwks",
            "no usable public key",
        ),
        (
            ISSUER + '\n[[issuer.policy]]\nscope = "a"\n[[issuer.policy]]\nscope = "b"\n'
            'publish = ["a#"]\n',
            "9: issuer.1.policy.1",
            "policy for scope b",
        ),
        (
            ISSUER.replace("jwks = ", "#") + 'jwks_file = "nowhere"\n',
            "6: issuer.1.jwks_file",
            "cannot be read",
        ),
        (ISSUER + 'ca = "nowhere.pem"\n', "6: issuer.1.ca", "cannot be read"),
        (
            ISSUER + 'revocation_client = "a"\nrevocation_secret = "file:nowhere"\n',
            "7: issuer.1.revocation_secret",
            "cannot read the secret file:nowhere",
        ),
        (
            ISSUER + 'max_lifetime = 60\n[issuer.events]\naudience = "x"\n'
            'authorization = "env:NOWHERE"\n[guard.http]\nport = 9443\n',
            "9: issuer.1.events.authorization",
            "env:NOWHERE is empty or not set",
        ),
        (
            ISSUER + '[issuer.introspection]\nclient_id = "a"\nclient_secret = "env:NOWHERE"\n',
            "8: issuer.1.introspection.client_secret",
            "env:NOWHERE is empty or not set",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    shell: Shell, text: str, place: str, words: str
) -> None:
    above = add(shell, text)
    line, _, key = place.partition(":")
    told = refusal(shell)
    assert told.startswith(f"{above + int(line)}:{key}: "), told
    assert words in told
    assert "aHVudGVyMg" not in told


def test_the_servers_own_rules_are_told_with_their_line(shell: Shell) -> None:
    path = shell.directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    changed = text.replace('issuer = "https://localhost', 'issuer = "https://localhost/?a=', 1)
    path.write_text(changed, encoding="utf-8")
    line = changed[: changed.index("/?a=")].count("\n") + 1
    assert refusal(shell).startswith(f"{line}: server.issuer: ")


@pytest.mark.parametrize("key", ["certificate", "private_key"])
def test_the_servers_certificate_is_looked_for_where_the_file_names_another(
    shell: Shell, key: str
) -> None:
    path = shell.directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    section = f'[server]\n{key} = "other.pem"\n'
    path.write_text(text.replace("[server]\n", section), encoding="utf-8")
    line = text[: text.index("[server]")].count("\n") + 2
    assert refusal(shell).startswith(f"{line}: server.{key}: cannot be read")
    (shell.directory / "other.pem").touch()
    shell.ok("config", "check")


def test_the_servers_certificate_may_still_have_to_be_made(shell: Shell) -> None:
    path = shell.directory / "keyfob.toml"
    for name in ("server.pem", "server.key"):
        (shell.directory / name).unlink()
    shell.ok("config", "check")
    text = path.read_text(encoding="utf-8")
    named = '[server]\ncertificate = "server.pem"\nprivate_key = "./server.key"\n'
    path.write_text(text.replace("[server]\n", named), encoding="utf-8")
    shell.ok("config", "check")


def test_no_issuer_at_all_is_no_good(shell: Shell) -> None:
    (shell.directory / "keyfob.toml").write_text("", encoding="utf-8")
    outcome = shell("config", "check")
    assert outcome.code == 2
    assert "write at least one [[issuer]]" in outcome.err


def test_the_command_itself(installation: Installation) -> None:
    command = [*KEYFOB, "config", "check", "--dir", str(installation.directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"good: {installation.directory}/keyfob.toml"


# explain


def explained(shell: Shell, *key: str) -> dict[str, tuple[str, str]]:
    """Every key with its value and origin, as a person reads them."""
    found = {}
    for line in shell.ok("config", "explain", *key).out.splitlines():
        name, _, rest = line.partition(" = ")
        value, _, origin = rest.rpartition("  (")
        found[name.strip()] = (value.strip(), origin.removesuffix(")"))
    return found


def test_every_value_has_its_origin(shell: Shell) -> None:
    first = add(shell, ISSUER + 'preset = "cognito"\n[issuer.require]\na = "b"\n')
    path = f"{shell.directory}/keyfob.toml"
    told = explained(shell)
    assert told["guard.workers"] == ("1", "default")
    assert told["guard.database"] == (f'"{shell.directory}/guard.db"', "default")
    assert told["guard.http.certificate"] == ("none", "default")
    assert told["issuer.1.name"] == ('"inline"', f"{path}:{first + 2}")
    assert told["issuer.1.types"] == ('["", "JWT"]', "preset cognito")
    assert told["issuer.1.require.token_use"] == ('"access"', "preset cognito")
    assert told["issuer.1.require.a"] == ('"b"', f"{path}:{first + 8}")
    assert told["issuer.1.policy"] == ("[]", "default")
    assert told["issuer.1.introspection"] == ("none", "default")
    assert told["mosquitto.save_every_change"] == ("false", "default")


def test_a_key_or_a_section_can_be_asked_for(shell: Shell) -> None:
    assert list(explained(shell, "guard.workers")) == ["guard.workers"]
    inside = explained(shell, "guard.http")
    keys = ("host", "port", "certificate", "private_key")
    assert list(inside) == [f"guard.http.{key}" for key in keys]
    outcome = shell("config", "explain", "guard.wrokers")
    assert outcome.code == 2
    assert "write guard.workers (config_invalid)" in outcome.err


def test_as_json_every_value_keeps_its_type(shell: Shell) -> None:
    add(shell, ISSUER + 'preset = "hydra"\n')
    data = {one["key"]: one for one in shell.json("config", "explain")}
    assert data["guard.workers"] == {
        "key": "guard.workers",
        "value": 1,
        "origin": {"kind": "default"},
    }
    assert data["issuer.1.scope_claim"]["origin"] == {"kind": "preset", "preset": "hydra"}
    assert data["issuer.0.audience"]["value"] == ["mqtt"]
    assert data["issuer.0.audience"]["origin"]["kind"] == "file"
    assert data["issuer.0.audience"]["origin"]["line"] > 1
    assert data["guard.database"]["value"] == str(shell.directory / "guard.db")


def test_a_secret_is_never_shown(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTROSPECTION", "hunter2")
    (shell.directory / "guard.secret").write_text("hunter3", encoding="utf-8")
    asking = 'client_id = "guard"\nclient_secret = "env:INTROSPECTION"\n'
    add(shell, f"{ISSUER}[issuer.introspection]\n{asking}")
    for arguments in (("explain",), ("explain", "--json"), ("check",), ("check", "--json")):
        out = shell.ok("config", *arguments).out
        assert "hunter" not in out
    told = explained(shell)
    assert told["issuer.0.revocation_secret"][0] == '"file:guard.secret"'
    assert told["issuer.1.introspection.client_secret"][0] == '"env:INTROSPECTION"'


def test_what_a_file_holds_cannot_give_orders_to_the_terminal(shell: Shell) -> None:
    add(shell, ISSUER + 'scope_claim = "\\u001b[2J"\nrequire = {"\\u001b[3J" = "x"}\n')
    out = shell.ok("config", "explain").out
    assert "\x1b" not in out
