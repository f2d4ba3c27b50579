# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ as an MQTT broker that verifies Keycloak's tokens itself, by its own OAuth 2 plugin."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.free_ports import free_port
from tests.interop.fetched import ROOT, fetched
from tests.interop.foreign.keycloak import Keycloak
from tests.interop.foreign.server import AUDIENCE, running

SUITE = "trixie"
SCRIPT = ROOT / "scripts" / "newer-rabbitmq"

CONFIGURATION = """\
auth_backends.1 = rabbit_auth_backend_oauth2
auth_oauth2.resource_server_id = {audience}
auth_oauth2.preferred_username_claims.1 = azp
auth_oauth2.algorithms.1 = RS256
auth_oauth2.jwks_url = {keys_url}
auth_oauth2.https.cacertfile = {ca}
auth_oauth2.https.peer_verification = verify_peer
"""
"""What makes RabbitMQ take Keycloak's tokens, and nothing else."""

SESSION = [
    f"{AUDIENCE}.configure:%2F/mqtt-subscription-*",
    f"{AUDIENCE}.write:%2F/mqtt-subscription-*",
    f"{AUDIENCE}.read:%2F/mqtt-subscription-*",
]
"""The scopes of whoever subscribes: a subscription is a queue there."""

DEVICE = [
    *SESSION,
    f"{AUDIENCE}.write:%2F/amq.topic/devices.{{azp}}.*",
    f"{AUDIENCE}.read:%2F/amq.topic/commands.{{azp}}.*",
]
"""The scopes of a device, which publishes below MQTT's ``devices/{azp}/``: dots are slashes."""

APPLICATION = [
    *SESSION,
    f"{AUDIENCE}.read:%2F/amq.topic/devices.*",
    f"{AUDIENCE}.write:%2F/amq.topic/commands.*",
]


@dataclass(frozen=True)
class RabbitMQ:
    """A running RabbitMQ.

    Attributes:
        port: Where it takes MQTT.
        log_file: What it says.
    """

    port: int
    log_file: Path

    def log(self) -> str:
        """Return what it has said, without the colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self.log_file.read_text(encoding="utf-8"))


@contextlib.contextmanager
def rabbitmq(keycloak: Keycloak, folder: Path, show: Callable[[str], object]) -> Iterator[RabbitMQ]:
    """Run RabbitMQ with its data in ``folder``; it is fetched first where it is not there yet.

    Raises:
        CannotHaveError: This machine cannot have it.
    """
    program = fetched(SCRIPT, SUITE, show=show)
    broker = RabbitMQ(free_port(), folder / "rabbitmq.log")
    (folder / "rabbitmq.conf").write_text(
        "listeners.tcp = none\n"
        f"mqtt.listeners.tcp.1 = 127.0.0.1:{broker.port}\n"
        "log.console = true\nlog.file = false\n"
        + CONFIGURATION.format(audience=AUDIENCE, keys_url=keycloak.keys_url, ca=keycloak.ca),
        encoding="utf-8",
    )
    (folder / "enabled_plugins").write_text("[rabbitmq_mqtt,rabbitmq_auth_backend_oauth2].\n")
    environment = {
        "HOME": str(folder),  # Erlang's cookie
        "ERL_EPMD_PORT": str(free_port()),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_NODENAME": "keyfob-test@localhost",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    with running([program], broker.log_file, "Server startup complete", environment):
        yield broker
