# SPDX-License-Identifier: Apache-2.0
"""What somebody wants the register to have, and what he gets."""

from __future__ import annotations

import pytest

from keyfob.errors import ConfigError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.register import Register
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of

KEYS = jwks_of(SigningKey.generate())
NAMED = CertificateIdentity(san_dns="dev1.example")
BY_METADATA = ClientMetadata(tls_client_auth_san_dns="dev1.example")


@pytest.mark.parametrize(
    ("wish", "has_secret"),
    [
        (DeviceWish("dev1"), True),
        (DeviceWish("dev1", rights=Rights(publish=["a"]), pending=True), True),
        (DeviceWish("dev1", certificate_bound=True), True),
        (DeviceWish("dev1", jwks=KEYS), False),
        (DeviceWish("dev1", certificate=NAMED), False),
        (DeviceWish("dev1", metadata=BY_METADATA), False),
        (DeviceWish("dev1", jwks=KEYS, certificate=NAMED), False),
    ],
)
def test_a_device_gets_a_secret_where_it_brings_nothing_to_prove_itself_by(
    register: Register, wish: DeviceWish, has_secret: bool
) -> None:
    issued = register.add_device(wish)
    assert issued.device.has_secret == has_secret == bool(issued.secret)
    assert issued.device == register.show_device("dev1")
    assert issued.secret not in repr(issued) or not has_secret


def test_a_name_alone_is_the_least_that_there_can_be(register: Register) -> None:
    assert register.add_device("dev1").device.scopes == ("mqtt.connect",)
    assert register.add_application("app1").application.grants == ("password",)


@pytest.mark.parametrize(
    "wish",
    [
        DeviceWish("dev1", jwks=b""),
        DeviceWish("dev1", certificate=CertificateIdentity()),
        DeviceWish("dev1", metadata=ClientMetadata(tls_client_auth_san_dns="*.a")),
        DeviceWish(
            "dev1", certificate_bound=True, metadata=ClientMetadata(dpop_bound_access_tokens=True)
        ),
    ],
)
def test_what_does_not_go_together_is_refused_and_told(
    register: Register, wish: DeviceWish
) -> None:
    with pytest.raises(ConfigError) as refused:
        register.add_device(wish)
    assert register.list_devices() == ()
    (line,) = register.list_actions()
    assert (line.action, line.subject, line.result) == ("device.add", "dev1", refused.value.code)


@pytest.mark.parametrize(
    "keys", [{"jwks": KEYS}, {"certificate": NAMED}, {"metadata": BY_METADATA}]
)
def test_a_public_application_brings_nothing(register: Register, keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="public"):
        register.add_application(ApplicationWish("app1", public=True, **keys))  # type: ignore[arg-type]
    assert register.list_applications() == ()


def test_a_change_of_nothing_changes_nothing(register: Register) -> None:
    register.fleet.add_group("g")
    rights = Rights(publish=["a/{device}"])
    wish = DeviceWish("dev1", rights=rights, lifetime=60, groups=["g"], labels={"a": "b"})
    before = register.add_device(wish).device
    assert register.change_device("dev1", ChangeWish()) == before
    changed = register.change_device("dev1", ChangeWish(rights=Rights(), lifetime=0))
    assert (changed.scopes, changed.lifetime) == (("mqtt.connect",), None)
    assert (changed.groups, changed.labels) == (before.groups, before.labels)
