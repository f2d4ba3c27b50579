# SPDX-License-Identifier: Apache-2.0
"""keyfob.toml: what is refused says file, line, key and what to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyfob.config import Origin, SecretReference, load
from keyfob.errors import ConfigError

ISSUER = '[[issuer]]\nname = "a"\nissuer = "https://a.example"\naudience = ["mqtt"]\n'
ASKING = ISSUER + '[issuer.introspection]\nclient_id = "guard"\nclient_secret = "env:S"\n'
ROW = ISSUER + "[[issuer.policy]]\n"
OTHER = ASKING.replace('"a"', '"b"').replace("a.example", "b.example")


def settings_from(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keyfob.toml"
    path.write_bytes(text.encode())
    return path


def refusal(tmp_path: Path, text: str) -> tuple[str, str]:
    """Where and why a file is refused: ``LINE: KEY`` and the rest."""
    path = settings_from(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    found = re.fullmatch(re.escape(f"{path}:") + r"(\d+: [^:]+): (.+)", caught.value.message)
    assert found, caught.value.message
    assert "write" in found[2]
    return found[1], found[2]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        # no such key
        ("[server]\nprot = 1\n", "2: server.prot", "write port"),
        ("[server]\nleeway = 1\n", "2: server.leeway", "write it in [[issuer]]"),
        ("[guard]\nendpoint = 1\n", "2: guard.endpoint", "write it in [issuer.introspection]"),
        ("\n[gard]\nworkers = 1\n", "2: gard", "write guard"),
        ("zzz = 1\n", "1: zzz", "write one of server, guard, issuer, mosquitto"),
        ("[guard.http]\n\nprot = 1\n", "3: guard.http.prot", "write port"),
        (ISSUER + 'algoritms = ["ES256"]\n', "5: issuer.0.algoritms", "write algorithms"),
        (ROW + 'scop = "a"\n', "6: issuer.0.policy.0.scop", "write scope"),
        (ASKING + "timeout = 1\n", "8: issuer.0.introspection.timeout", "write timeout_ms"),
        (ISSUER + "native_scopes = false\n", "5: issuer.0.native_scopes", "write rights = "),
        ('"a\\nb" = 1\n', r"1: 'a\nb'", "write one of"),
        # another type
        ('[server]\nport = "x"\n', "2: server.port", "is a text; write a whole number"),
        ("[server]\nport = true\n", "2: server.port", "is true or false; write a whole number"),
        ("[server]\nport = 1.5\n", "2: server.port", "is a number; write a whole number"),
        ("[server]\nport = 07:32:00\n", "2: server.port", "is something else; write a whole"),
        ('[mosquitto]\nsave_every_change = "y"', "2: mosquitto.save_every_change", "write true or"),
        ("server = 3\n", "1: server", "write [server] above its keys"),
        ("guard.http = 3\n", "1: guard.http", "write [guard.http] above its keys"),
        ("[issuer]\nname = 3\n", "1: issuer", "is a section; write [[issuer]] above its keys"),
        ("issuer = [\n1]\n", "2: issuer.0", "write [[issuer]] above its keys"),
        (ISSUER + "policy = 3\n", "5: issuer.0.policy", "write [[issuer.policy]] above"),
        (ISSUER + 'audience_claim = ["x"]\n', "5: issuer.0.audience_claim", "write a text in"),
        (ISSUER.replace('["mqtt"]', '"mqtt"'), "4: issuer.0.audience", "is a text; write a list"),
        (ISSUER.replace('["mqtt"]', '[\n"a",\n1]'), "6: issuer.0.audience.1", "write a text"),
        (ISSUER + 'ca = ""\n', "5: issuer.0.ca", "write a path in quotes, or leave"),
        (ISSUER + "ca = 3\n", "5: issuer.0.ca", "write a path"),
        (ISSUER + 'ca = "a\\u0000"\n', "5: issuer.0.ca", "write a path"),
        (ISSUER + '[issuer.require]\na = "x"\nb = 3\n', "7: issuer.0.require.b", "write a text"),
        (
            ISSUER + 'rights = ["rabbitmq"]\n[issuer.rabbitmq.aliases]\na = ["x"]\nb = ["x",\n1]\n',
            "9: issuer.0.rabbitmq.aliases.b.1",
            "is a whole number; write a text",
        ),
        (
            ISSUER + 'rights = ["rabbitmq"]\n[issuer.rabbitmq.aliases]\n"a.1" = [3]\n',
            "7: issuer.0.rabbitmq.aliases.a.1.0",
            "write a text",
        ),
        # other words
        ('[guard]\ntoken_fields = ["header"]\n', "2: guard.token_fields.0", '"password" or'),
        ('[mosquitto]\ndecisions = "x"\n', "2: mosquitto.decisions", '"auto" or "blocking" or'),
        (ISSUER + 'rights = ["scope"]\n', "5: issuer.0.rights.0", '"scopes" or'),
        (ASKING + 'use = "x"\n', "8: issuer.0.introspection.use", '"opaque" or "always"'),
        (ISSUER + 'preset = "keycloack"\n', "5: issuer.0.preset", "write keycloak"),
        (ISSUER + 'preset = "zzz"\n', "5: issuer.0.preset", "write one of keycloak, hydra,"),
        (ISSUER + "preset = 3\n", "5: issuer.0.preset", "write a text"),
        # what is missing
        ('[[issuer]]\nname = "a"\n', "1: issuer.0.issuer", 'write issuer = "…"'),
        (ISSUER + '[[issuer]]\nname = "b"\nissuer = "x"', "5: issuer.1.audience", '= ["…"]'),
        # out of range
        ("[server]\nport = 0\n", "2: server.port", "write 1 to 65535"),
        ("[mosquitto]\nplain_port = 70000\n", "2: mosquitto.plain_port", "write 0 to"),
        ("[mosquitto]\nport = 1\nplain_port = 1\n", "3: mosquitto.plain_port", "or 0 for none"),
        ("[mosquitto]\nwebsockets_port = 70000\n", "2: mosquitto.websockets_port", "write 0 to"),
        ("[mosquitto]\nwebsockets_port = 8883\n", "2: mosquitto.websockets_port", "another"),
        ("[mosquitto]\nplain_port = 8883\n", "2: mosquitto.plain_port", "write another"),
        ("[server]\ntoken_lifetime = 0\n", "2: server.token_lifetime", "write 1 to 86400"),
        (
            "[server]\nrefresh_token_lifetime = 31536001\n",
            "2: server.refresh_token_lifetime",
            "write 1 to 31536000",
        ),
        (
            "[server]\nrefresh_token_idle_lifetime = 0\n",
            "2: server.refresh_token_idle_lifetime",
            "write 1 to 31536000",
        ),
        ("[server.limits]\nfailure_rate = 0\n", "2: server.limits.failure_rate", "write 0.001 to"),
        ("[server.limits]\nclient_rate = nan\n", "2: server.limits.client_rate", "write 0.001"),
        ("[server.limits]\nclient_burst = 0\n", "2: server.limits.client_burst", "write 1 to"),
        ("[server.limits]\ntracked = -1\n", "2: server.limits.tracked", "write 1 to"),
        ("[server.metrics]\nport = -1\n", "2: server.metrics.port", "write 0 to 65535"),
        ('[server.metrics]\nhost = ""\n', "2: server.metrics.host", "write an address"),
        ('[server.metrics]\nprivate_key = "x"\n', "1: server.metrics", "write certificate ="),
        ("[guard]\nready_timeout = nan\n", "2: guard.ready_timeout", "write 0 to"),
        ("[guard]\nworkers = 0\n", "2: guard.workers", "write 1 to 64"),
        ("[guard]\nworkers = 65\n", "2: guard.workers", "write 1 to 64"),
        ("[guard]\nblocking_wait_ms = -1\n", "2: guard.blocking_wait_ms", "write 0 to"),
        ("[guard.http]\nport = 65536\n", "2: guard.http.port", "write 0 to 65535"),
        ("[mosquitto]\nguard_timeout_ms = -5\n", "2: mosquitto.guard_timeout_ms", "write 1 to"),
        ('[guard]\nworkers = 2\naudit = ["console", "stdout"]\n', "3: guard.audit.1", "file:PATH"),
        # As much as the plugin takes.
        ("[mosquitto]\nguard_timeout_ms = 10001\n", "2: mosquitto.guard_timeout_ms", "to 10000"),
        (
            "[mosquitto]\nexchange_timeout_ms = 60001\n",
            "2: mosquitto.exchange_timeout_ms",
            "write 100 to 60000",
        ),
        ("[mosquitto]\nautosave_interval = 0\n", "2: mosquitto.autosave_interval", "write 1 to"),
        (ISSUER + "leeway = -1\n", "5: issuer.0.leeway", "write 0 to"),
        (ISSUER + f"leeway = 0x{'f' * 5000}\n", "5: issuer.0.leeway", "write 0 to"),
        (ISSUER + "expiry_leeway = 301\n", "5: issuer.0.expiry_leeway", "write 0 to 300"),
        (ISSUER + "jwks_refresh = 0\n", "5: issuer.0.jwks_refresh", "write 1 to 86400"),
        (ISSUER + "jwks_cooldown = 0\n", "5: issuer.0.jwks_cooldown", "write 1 to 3600"),
        (ASKING + "timeout_ms = 0\n", "8: issuer.0.introspection.timeout_ms", "write 1 to"),
        (ASKING + "cache = 9999\n", "8: issuer.0.introspection.cache", "write 0 to 3600"),
        (ASKING + "reask = 0\n", "8: issuer.0.introspection.reask", "write 1 to"),
        # empty
        ('[server]\nhost = ""\n', "2: server.host", "write an address"),
        ('[server]\naudience = ""\n', "2: server.audience", "write what tokens"),
        ('[guard.http]\nhost = ""\n', "2: guard.http.host", "write an address"),
        ("[guard]\ntoken_fields = []\n", "2: guard.token_fields", 'write ["password"'),
        (
            '[guard]\nauthentication_methods = ["a", ""]\n',
            "2: guard.authentication_methods.1",
            "write 1 to 255 bytes",
        ),
        (
            '[guard]\nauthentication_methods = ["a\\u0007"]\n',
            "2: guard.authentication_methods.0",
            "all of them printable",
        ),
        (
            '[guard]\nauthentication_methods = ["JWT", "JWT"]\n',
            "2: guard.authentication_methods.1",
            "write it once",
        ),
        (ISSUER.replace('"a"', '""'), "2: issuer.0.name", "write a short name"),
        (ISSUER.replace('"a"', '"a:b"'), "2: issuer.0.name", "write a short name"),
        (ISSUER.replace('"a"', '"a\\n"'), "2: issuer.0.name", "write a short name"),
        (ISSUER.replace('["mqtt"]', "[]"), "4: issuer.0.audience", "is empty"),
        (ISSUER.replace('["mqtt"]', '[""]'), "4: issuer.0.audience", "is empty"),
        (ISSUER + '[issuer.require]\na = ""\n', "6: issuer.0.require.a", "is empty"),
        (
            ISSUER.replace("https://a.example", "") + 'jwks = "{}"\n',
            "3: issuer.0.issuer",
            "write the exact iss",
        ),
        # twice
        (ISSUER + ISSUER, "6: issuer.1.name", "stands twice, in issuer.0 as well"),
        (ISSUER + ISSUER.replace('"a"', '"b"'), "7: issuer.1.issuer", "stands twice"),
        (ISSUER + 'rights = ["aif",\n"aif"]\n', "6: issuer.0.rights.1", "stands twice"),
        ('[guard]\naudit = ["console",\n"console"]\n', "3: guard.audit.1", "stands twice"),
        # what goes together and what does not
        (ISSUER + 'revocation_client = "g"\n', "5: issuer.0.revocation_client", "write both"),
        (ROW + 'scope = "a"\nclaim = "b"\n', "5: issuer.0.policy.0", "either"),
        (ROW + 'scope = "a"\nvalue = "b"\n', "5: issuer.0.policy.0", "either"),
        (ROW + 'claim = "b"\n', "5: issuer.0.policy.0", "either"),
        (ROW, "5: issuer.0.policy.0", "either"),
        ('[guard.http]\ncertificate = "x"\n', "1: guard.http", "write private_key"),
        ('[guard.http]\nprivate_key = "x"\n', "1: guard.http", "write certificate"),
        (
            ISSUER + 'jwks = "{}"\njwks_uri = "https://x.example"\n',
            "6: issuer.0.jwks_uri",
            "write jwks or jwks_uri",
        ),
        (ISSUER + 'jwks = "{}"\njwks_file = "x"\n', "6: issuer.0.jwks_file", "one place"),
        (ISSUER + "[issuer.emqx_acl]\n", "5: issuer.0.emqx_acl", 'write rights = ["emqx_acl"]'),
        (ISSUER + '[issuer.events]\naudience = "x"\n', "1: issuer.0.max_lifetime", "events need"),
        (
            ISSUER + 'max_lifetime = 60\n[issuer.events]\naudience = "x"\n',
            "6: issuer.0.events",
            "write port",
        ),
        (ISSUER + "max_lifetime = 60\n[issuer.events]\n", "6: issuer.0.events.audience", "missing"),
        (ISSUER + "[issuer.introspection]\n", "5: issuer.0.introspection.client_id", "missing"),
        (
            ASKING.replace('client_secret = "env:S"', ""),
            "5: issuer.0.introspection.client_secret",
            'write client_secret = "file:PATH"',
        ),
        (
            ASKING + 'authentication = "private_key_jwt"\n',
            "5: issuer.0.introspection.private_key",
            "missing for private_key_jwt",
        ),
        (
            ASKING + 'authentication = "private_key_jwt"\nprivate_key = "file:k"\n',
            "7: issuer.0.introspection.client_secret",
            "write private_key alone",
        ),
        (ASKING + 'private_key = "file:k"\n', "8: issuer.0.introspection.private_key", "no use"),
        (ASKING + 'algorithm = "HS256"\n', "8: issuer.0.introspection.algorithm", "write one of"),
        (ASKING + OTHER, "12: issuer.1.introspection.prefix", "write what this issuer's tokens"),
        (
            ASKING + 'prefix = "at_"\n' + OTHER + 'prefix = "at_"\n',
            "16: issuer.1.introspection.prefix",
            "issuer.0 is asked about opaque tokens that begin with 'at_' already",
        ),
        (
            ISSUER + "max_lifetime = 60\nalgorithms = []\n[issuer.events]\naudience = \"x\"\n",
            "6: issuer.0.algorithms",
            "no event is believed",
        ),
        # addresses
        ('[server]\nissuer = "x"\n', "2: server.issuer", "write https://"),
        (ISSUER.replace("https", "http"), "3: issuer.0.issuer", "write https://"),
        (ISSUER.replace("https://a.example", "my-as"), "3: issuer.0.issuer", "write https://"),
        (
            ISSUER.replace("https", "http") + 'jwks_file = "x"\n',
            "3: issuer.0.issuer",
            "write https://",
        ),
        (ISSUER + 'jwks_uri = "http://a.example/x"\n', "5: issuer.0.jwks_uri", "write https://"),
        (ASKING + 'endpoint = "ftp://a"\n', "8: issuer.0.introspection.endpoint", "write https://"),
        (
            ASKING.replace("https://a.example", "my-as") + '[[issuer.policy]]\nscope="x"\n',
            "3: issuer.0.issuer",
            "write https://",
        ),
        # places for decisions
        ('[guard]\naudit = ["x"]\n', "2: guard.audit.0", "write file:PATH"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_line_and_key(
    tmp_path: Path, text: str, place: str, words: str
) -> None:
    where, why = refusal(tmp_path, text)
    assert where == place
    assert words in why


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nonsense", ":1: not valid TOML: "),
        ('a = 1\nb = "x\n', ":2: not valid TOML: "),
        ("a = 1\r\na = 2\r\n", ":2: not valid TOML: "),
        ("[server]\nlist = [\n1,\n", ":4: not valid TOML: "),
        ("a = 1\rb = 2\n", ":1: not valid TOML: "),
        (f"a = {'9' * 5000}\n", ": not valid TOML: "),
        (f"a = {'[' * 5000}\n", ": not valid TOML: "),
    ],
)
def test_what_is_no_toml_is_refused_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    path = settings_from(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}{place}")
    assert "; write KEY = VALUE" in caught.value.message


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "keyfob.toml"
    path.write_bytes(b"# a\n# \xff\n")
    with pytest.raises(ConfigError, match=re.escape(f"{path}:2: not UTF-8")):
        load(path)


def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keyfob init"):
        load(tmp_path / "keyfob.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


def test_a_whole_file_is_accepted(tmp_path: Path) -> None:
    text = """\
        [guard]
        workers = 4
        audit = ["syslog", "syslog:/dev/log", "syslog:[::1]:514", "file:audit"]
        blocking_wait_ms = 5
        [guard.http]
        port = 9443
        certificate = "guard.pem"
        private_key = "/guard.key"
        [[issuer]]
        name = "a"
        issuer = "https://a.example"
        audience = ["mqtt"]
        max_lifetime = 3600
        rights = ["scopes", "authorization_details", "aif", "emqx_acl", "rabbitmq"]
        [issuer.authorization_details]
        locations = ["mqtts://broker"]
        [issuer.rabbitmq]
        scope_prefix = ""
        aliases = { admin = ["read:*/*", "write:*/*"] }
        [issuer.introspection]
        use = "always"
        client_id = "guard"
        authentication = "private_key_jwt"
        private_key = "file:guard.key"
        prefix = "a_"
        [issuer.events]
        audience = "https://guard.example"
        authorization = "env:EVENTS"
        [[issuer]]
        name = "b"
        issuer = "b-without-address"
        audience = ["mqtt"]
        jwks_file = "b.json"
        [issuer.introspection]
        endpoint = "http://127.0.0.1:8080/introspect"
        client_id = "guard"
        client_secret = "env:B"
        [mosquitto]
        decisions = "delayed"
        """
    settings = load(settings_from(tmp_path, text))
    assert settings.guard.http.certificate == tmp_path / "guard.pem"
    assert settings.guard.http.private_key == Path("/guard.key")
    first, second = settings.issuers
    assert first.rabbitmq.scope_prefix == ""
    assert first.rabbitmq.aliases == {"admin": ("read:*/*", "write:*/*")}
    assert first.introspection is not None
    assert first.events is not None
    assert second.jwks_file == tmp_path / "b.json"
    assert second.events is None
    kinds = [target.kind for target in settings.audit]
    assert kinds == ["syslog", "syslog", "syslog", "file"]


def test_nothing_written_means_the_defaults(tmp_path: Path) -> None:
    settings = load(settings_from(tmp_path, ""))
    assert settings.issuers == ()
    assert settings.origins == {}
    assert [(one.kind, one.path) for one in settings.audit] == [
        ("file", tmp_path / "log/audit.jsonl"),
        ("console", None),
    ]


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(settings_from(tmp_path, ISSUER + 'ca = "ca.pem"\njwks_file = "/keys.json"\n'))
    assert settings.issuers[0].ca == tmp_path / "ca.pem"
    assert settings.issuers[0].jwks_file == Path("/keys.json")
    assert settings.server.database == str(tmp_path / "server.db")


def test_every_value_knows_its_origin(tmp_path: Path) -> None:
    text = "[server]\nport = 1234\n" + ISSUER + 'preset = "cognito"\nrequire.cnf = "x"\n'
    settings = load(settings_from(tmp_path, text))
    preset = Origin(kind="preset", preset="cognito")
    assert settings.origin("server.port") == Origin(kind="file", line=2)
    assert settings.origin("server.host") == Origin(kind="default")
    assert settings.origin("issuer.0.audience") == Origin(kind="file", line=6)
    assert settings.origin("issuer.0.device_claim") == preset
    assert settings.origin("issuer.0.require.token_use") == preset
    assert settings.origin("issuer.0.require.cnf") == Origin(kind="file", line=8)
    assert settings.origin("issuer.0.leeway") == Origin(kind="default")


SECRETS = [
    (ISSUER + 'revocation_client = "guard"\nrevocation_secret = "{}"\n', "revocation_secret"),
    (ASKING.replace("env:S", "{}"), "introspection.client_secret"),
    (
        ISSUER + '[issuer.introspection]\nclient_id = "g"\nauthentication = "private_key_jwt"\n'
        'private_key = "{}"\n',
        "introspection.private_key",
    ),
    (
        ISSUER + 'max_lifetime = 60\n[issuer.events]\naudience = "x"\nauthorization = "{}"\n',
        "events.authorization",
    ),
]


@pytest.mark.parametrize(("text", "key"), SECRETS)
@pytest.mark.parametrize("secret", ["hunter2", "hunter2:x", "file:", "File:hunter2"])
def test_a_secret_that_is_written_as_itself_is_refused_and_not_repeated(
    tmp_path: Path, text: str, key: str, secret: str
) -> None:
    where, why = refusal(tmp_path, text.replace("{}", secret))
    assert where.endswith(f": issuer.0.{key}")
    assert "hunter2" not in where + why
    assert "file:PATH or env:NAME" in why


@pytest.mark.parametrize("url", ["https://me:hunter2@a.example", "https://hunter2@a.example/x"])
@pytest.mark.parametrize("line", ['jwks_uri = "{}"', '[issuer.introspection]\nendpoint = "{}"'])
def test_a_secret_in_an_address_is_refused_and_not_repeated(
    tmp_path: Path, url: str, line: str
) -> None:
    for text in (ISSUER + line.format(url), ISSUER.replace("https://a.example", url)):
        _, why = refusal(tmp_path, text)
        assert "holds credentials" in why
        assert "hunter2" not in why


def test_a_secret_reference_reads_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "guard.secret").write_text("s3cret\n", encoding="utf-8")
    (tmp_path / "bad.secret").write_bytes(b"\xff")
    (tmp_path / "empty.secret").write_bytes(b"\n")
    monkeypatch.setenv("GUARD_SECRET", "from-env")
    assert SecretReference.parse("file:guard.secret", tmp_path).read() == "s3cret"
    assert SecretReference.parse("env:GUARD_SECRET", tmp_path).read() == "from-env"
    for text in ("env:NOWHERE", "file:nowhere", "file:bad.secret", "file:empty.secret", "file:\0"):
        with pytest.raises(ConfigError, match=text.partition(":")[2]):
            SecretReference.parse(text, tmp_path).read()
