# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``config.load``: a keyfob.toml that somebody has edited badly."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fuzz import octets
from fuzz.chance import Chance
from fuzz.target import Check, Target, demand
from keyfob.config import FILE_NAME, Settings, database_kind, load
from keyfob.errors import ConfigError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "A file is refused with a ConfigError that names it, or its settings are whole: absolute "
    "paths, ports and seconds that exist, every issuer once and with an audience."
)
_SAMPLE: Final = b"""\
[server]
issuer = "https://localhost:8443"
host = "127.0.0.1"
port = 8443
audience = "mqtt"
token_lifetime = 3600
database = "server.db"

[guard]
socket = "run/guard.sock"
workers = 4
audit = ["file:log/audit.jsonl", "stdout", "syslog:localhost:514"]
socket_users = ["mosquitto"]
token_fields = ["password"]
ready_timeout = 10.0
blocking_wait_ms = 20

[guard.http]
host = "127.0.0.1"
port = 9090

[[issuer]]
name = "keyfob"
issuer = "https://localhost:8443"
audience = ["mqtt"]
ca = "ca.pem"
leeway = 60
max_lifetime = 0
revocation_client = "keyfob-guard"
revocation_secret = "file:guard.secret"

[[issuer.policy]]
claim = "realm_access.roles"
value = "writer"
publish = ["up/{device}/#"]

[[issuer]]
name = "keycloak"
preset = "keycloak"
issuer = "https://keycloak.example/realms/iot"
audience = ["mqtt"]
jwks_uri = "https://keycloak.example/realms/iot/protocol/openid-connect/certs"
jwks_refresh = 900
jwks_cooldown = 30
rights = ["scopes", "authorization_details", "rabbitmq"]
max_lifetime = 3600

[issuer.authorization_details]
locations = ["mqtts://broker.example:8883"]

[issuer.rabbitmq]
resource_server_id = "rabbitmq"
vhost = "/"

[issuer.rabbitmq.aliases]
admin = ["rabbitmq.read:*/*"]

[issuer.introspection]
use = "always"
client_id = "guard"
client_secret = "file:guard.secret"
timeout_ms = 2000
cache = 30

[issuer.events]
audience = "https://guard.example"

[[issuer]]
name = "emqx"
issuer = "https://other.example"
audience = ["mqtt"]
jwks = '{"keys":[]}'
rights = ["emqx_acl"]

[issuer.emqx_acl]
claim = "acl"

[mosquitto]
host = "127.0.0.1"
port = 8883
plain_port = 0
save_every_change = false
decisions = "auto"
"""
_LINES: Final = tuple(line for line in _SAMPLE.splitlines() if line)
_VALUES: Final = tuple(
    text.encode()
    for text in (
        *("true", "-1", "0", "65536", "99999999999999999999", "9" * 4_400, "0x10", "1e400", "nan"),
        *("inf", "-inf", '""', '"a:b"', '"file:"', '"env:X"', '"\\u0000"', '"a\\nb"', "[]", "{}"),
        *('[""]', '["password", "password"]', "1979-05-27", "07:32:00", "'''x'''", '"\\ud800"'),
        *("[" * 20, "[" * 2_000, "{a=" * 400, '"/absolute"', '"~"', '"../.."', '"é"', "{port=1}"),
    )
)
_WORDS: Final = (
    b"[",
    b"]",
    b"=",
    b"\n",
    b'"',
    b"#",
    b"[[issuer]]\n",
    b'preset = "cognito"\n',
    b"[issuer.introspection]\n",
    b"[server]\n",
    b".",
    b"\0",
    b"\xff",
)


def make(chance: Chance) -> bytes:
    """Draw a file: lines left out, doubled, moved, with other keys and values."""
    lines = list(_LINES)
    for _ in range(chance.few(4)):
        at = chance.randrange(len(lines))
        key, equals, _ = lines[at].partition(b" = ")
        match chance.randrange(6):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(chance.place(len(lines)), lines[at])
            case 2 if equals:
                lines[at] = octets.changed(chance, key) + b" = 1"
            case _ if equals:
                lines[at] = key + b" = " + chance.one(_VALUES)
            case _:
                lines[at] = chance.one(
                    (
                        b"[[server]]",
                        b"[issuer]",
                        b"[x]",
                        b"[server.a]",
                        b"a = 1",
                        b"[issuer.events]",
                    )
                )
    data = b"\n".join(lines)
    return octets.changed(chance, data, _WORDS) if chance.often(0.3) else data


@contextmanager
def _opened() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE_NAME

        def check(data: bytes) -> str:
            path.write_bytes(data)
            try:
                settings = load(path)
            except ConfigError as error:
                demand(str(path) in str(error) or "secret" in str(error), "which file it is")
                return "refused"
            _check(settings)
            return "loaded"

        yield check


def _check(settings: Settings) -> None:
    mosquitto, guard, server = settings.mosquitto, settings.guard, settings.server
    if database_kind(server.database) == "file":
        demand(Path(server.database).is_absolute(), "a database that is relative to nothing")
    paths = (server.certificate, guard.database, guard.socket, mosquitto.directory)
    demand(all(path.is_absolute() for path in paths), "a path that is relative to nothing")
    demand(0 < server.port < 65_536 and 0 < mosquitto.port < 65_536, "no port")
    demand(0 <= mosquitto.plain_port < 65_536, "no port")
    demand(server.token_lifetime > 0, "tokens without a life")
    demand(math.isfinite(guard.ready_timeout) and guard.ready_timeout >= 0, "a wait without end")
    names = [issuer.name for issuer in settings.issuers]
    demand(len(set(names)) == len(names), "an issuer stands twice")
    demand(all(issuer.audience for issuer in settings.issuers), "tokens for nobody")
    demand(1 <= guard.workers <= 64, "no workers")
    demand(all(target is not None for target in settings.audit), "an audit that goes nowhere")
    for issuer in settings.issuers:
        demand(issuer.jwks_refresh > 0 and issuer.jwks_cooldown >= 0, "keys without end")
        sources = (issuer.jwks, issuer.jwks_file, issuer.jwks_uri)
        demand(sum(map(bool, sources)) <= 1, "keys from two places")
    kinds = {origin.kind for origin in settings.origins.values()}
    demand(kinds <= {"file", "preset"}, "out of nowhere")


TARGET = Target(name="configuration", invariant=_INVARIANT, make=make, open=_opened, share=1)
