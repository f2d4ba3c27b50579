# SPDX-License-Identifier: Apache-2.0
"""The register: names, scopes, lifetimes, secrets, and what disabling does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyfob.errors import ConfigError, ConflictError, NotFoundError, TopicError
from keyfob.server.lifetimes import LONGEST_LIFE, MAX_LIFETIME
from keyfob.server.register import Register
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, StoredRevocation, open_store
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.databases import everything, rows
from tests.server.world import Clock


@pytest.fixture
def store(database: Place, register: Register) -> Iterator[Store]:
    """Open the same file a second time, as the server does."""
    store = open_store(database)
    yield store
    store.close()


def revocations(store: Store) -> list[StoredRevocation]:
    return list(store.revocations_after(0, now=0, limit=100))


@pytest.mark.parametrize("name", ["d", "dev1", "0", "a.b_c~d-e", "x" * 128, "3f2a-77", "a..b"])
def test_a_name_of_unreserved_characters_is_registered_and_found(
    register: Register, name: str
) -> None:
    register.add_device(name)
    assert [device.id for device in register.list_devices()] == [name]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "x" * 129,
        "$SYS",
        "a/b",
        "+",
        "a+b",
        "#",
        "a:b",
        "a b",
        "a\0b",
        "a\n",
        "a\x7f",
        "ä",
        "а",  # noqa: RUF001 - a Cyrillic letter that looks like a Latin one
        "{device}",
        "a*",
        ".a",
        "-a",
        "_a",
        "~a",
        "auto-1",
        "kfs_x",
        "kfr_x",
        "a%2fb",
        "\ud800",
    ],
)
def test_a_name_that_means_something_elsewhere_is_refused(register: Register, name: str) -> None:
    with pytest.raises(ConfigError):
        register.add_device(name)
    with pytest.raises(ConfigError):
        register.add_application(name)
    assert register.list_devices() == ()


def test_a_secret_in_the_place_of_a_name_is_not_repeated(register: Register) -> None:
    secret = register.add_device("dev1").secret
    with pytest.raises(ConfigError) as refused:
        register.add_device(secret)
    with pytest.raises(NotFoundError) as unknown:
        register.show_device(secret)
    assert secret not in refused.value.message + unknown.value.message


def test_the_separator_of_the_client_id_template_is_taken(database: Place) -> None:
    with Register.open(database, client_id_template="{device}-*") as register:
        register.add_device("a.b")
        with pytest.raises(ConfigError, match="client_id_template"):
            register.add_device("a-b")


def test_one_name_is_one_party(register: Register) -> None:
    register.add_device("dev1")
    register.add_application("app1")
    register.ensure_guard_client("guard")
    for name in ("dev1", "app1", "guard"):
        with pytest.raises(ConflictError):
            register.add_device(name)
        with pytest.raises(ConflictError):
            register.add_application(name)
    for name in ("dev1", "app1"):
        with pytest.raises(ConflictError):
            register.ensure_guard_client(name)


def test_templates_are_expanded_and_encoded_at_registration(register: Register) -> None:
    issued = register.add_device(
        DeviceWish(
            "dev1",
            rights=Rights(
                publish=["up/{device}/#", "up/{device}/#"],
                subscribe=["down/{device}/+", "$share/{sub}/jobs/a b"],
                scopes=["billing reports", "mqtt.publish:x/y", "billing"],
            ),
        )
    )
    assert issued.device.scopes == (
        "mqtt.connect",
        "mqtt.publish:up/dev1/#",
        "mqtt.subscribe:down/dev1/+",
        "mqtt.subscribe:$share/dev1/jobs/a%20b",
        "billing",
        "reports",
        "mqtt.publish:x/y",
    )
    assert register.show_device("dev1") == issued.device


@pytest.mark.parametrize("template", ["", "a/#/b", "a+", "{claim:x}/a", "{client_id}", "{device"])
def test_a_filter_that_is_none_is_refused(register: Register, template: str) -> None:
    with pytest.raises(TopicError):
        register.add_device(DeviceWish("dev1", rights=Rights(publish=[template])))
    with pytest.raises(TopicError):
        register.add_device(DeviceWish("dev1", rights=Rights(subscribe=[template])))
    assert register.list_devices() == ()


def test_nobody_is_registered_to_publish_to_a_shared_subscription(register: Register) -> None:
    with pytest.raises(TopicError):
        register.add_device(DeviceWish("dev1", rights=Rights(publish=["$share/g/a"])))


@pytest.mark.parametrize("scope", ['a"b', "a\\b", "ä", "keyfob.revocations"])
def test_a_scope_that_is_none_or_reserved_is_refused(register: Register, scope: str) -> None:
    with pytest.raises(ConfigError):
        register.add_device(DeviceWish("dev1", rights=Rights(scopes=[scope])))


@pytest.mark.parametrize("scope", ["mqtt.publish:", "mqtt.subscribe:a/#/b", "mqtt.publish:%zz"])
def test_a_native_scope_without_a_filter_is_refused(register: Register, scope: str) -> None:
    with pytest.raises(TopicError):
        register.add_device(DeviceWish("dev1", rights=Rights(scopes=[scope])))


def test_more_scopes_than_a_token_holds_are_refused(register: Register) -> None:
    for filters in ([f"a/{number}" for number in range(128)], ["x" * 9_000, "y" * 9_000]):
        with pytest.raises(ConfigError, match="policy table"):
            register.add_device(DeviceWish("dev1", rights=Rights(publish=filters)))


@pytest.mark.parametrize("lifetime", [-1, 0, MAX_LIFETIME + 1])
def test_a_lifetime_outside_the_bounds_is_refused(register: Register, lifetime: int) -> None:
    with pytest.raises(ConfigError):
        register.add_device(DeviceWish("dev1", lifetime=lifetime))


@pytest.mark.parametrize("lifetime", [1, 5, MAX_LIFETIME, None])
def test_a_lifetime_within_the_bounds_is_kept(register: Register, lifetime: int | None) -> None:
    assert register.add_device(DeviceWish("dev1", lifetime=lifetime)).device.lifetime == lifetime


def test_a_secret_is_shown_once_and_stored_as_a_versioned_hash(
    register: Register, database: Place, clock: Clock
) -> None:
    issued = register.add_device("dev1")
    application = register.add_application("app1")
    rotated = register.rotate_secret("dev1")
    guard = register.ensure_guard_client("guard")
    secrets = [issued.secret, application.secret or "", rotated.secret, guard]
    assert len(set(secrets)) == 4
    assert all(secret.startswith("kfs_") and len(secret) == 47 for secret in secrets)
    assert not any(secret in repr((issued, application, rotated)) for secret in secrets)
    kept = everything(database)  # the database, its log and its index
    assert not any(secret[4:].encode() in kept for secret in secrets)
    found = rows(database, "SELECT secret_hash FROM client")
    assert len(found) == 3
    assert all(row[0].startswith("v1$sha256$") for row in found)


def test_disabling_is_a_state_and_a_revocation(
    register: Register, store: Store, clock: Clock
) -> None:
    register.add_device(DeviceWish("dev1", lifetime=60))
    assert register.disable_device("dev1").state == "disabled"
    assert register.show_device("dev1").state == "disabled"
    (row,) = revocations(store)
    assert (row.subject, row.reason) == ("dev1", "disabled")
    assert row.issued_before == int(clock.now)
    assert row.until >= clock.now + 60


def test_a_revocation_outlives_every_token_that_the_default_lifetime_may_have_given(
    register: Register, store: Store, clock: Clock
) -> None:
    """The default may have been longer when the token was issued."""
    register.add_device("dev1")
    register.disable_device("dev1")
    assert revocations(store)[0].until >= clock.now + MAX_LIFETIME


def test_enabling_restores_the_state_and_leaves_the_revocation(
    register: Register, store: Store
) -> None:
    register.add_device("dev1")
    register.disable_device("dev1")
    assert register.enable_device("dev1").state == "active"
    assert len(revocations(store)) == 1


def test_disabling_again_revokes_again(register: Register, store: Store, clock: Clock) -> None:
    register.add_device("dev1")
    register.disable_device("dev1")
    clock.now += 10
    register.disable_device("dev1")
    assert [row.issued_before for row in revocations(store)] == [
        int(clock.now) - 10,
        int(clock.now),
    ]


def test_removing_revokes_and_forgets(register: Register, store: Store) -> None:
    register.add_device("dev1")
    register.remove_device("dev1")
    assert register.list_devices() == ()
    assert [row.reason for row in revocations(store)] == ["removed"]
    with pytest.raises(NotFoundError):
        register.show_device("dev1")


@pytest.mark.parametrize("operation", ["disable_device", "remove_device"])
def test_a_commit_that_reaches_into_the_next_second_is_covered(
    database: Place, store: Store, operation: str
) -> None:
    """A token with that second as its iat may have been issued on the old state meanwhile."""
    own = open_store(database)

    def passing() -> float:
        return 100.9 if own.connection.in_transaction else 101.1

    with Register(own, clock=passing) as register:
        register.add_device("dev1")
        getattr(register, operation)("dev1")
    assert max(row.issued_before for row in revocations(store)) == 101


def test_a_revocation_is_forgotten_when_it_has_stopped_to_matter(
    register: Register, store: Store, clock: Clock
) -> None:
    """And its cursor is not given to another."""
    register.add_device("dev1")
    register.disable_device("dev1")
    first = revocations(store)[0].cursor
    clock.now += LONGEST_LIFE + 1
    register.disable_device("dev1")
    (row,) = revocations(store)
    assert row.cursor > first


@pytest.mark.parametrize(
    "operation",
    ["show_device", "disable_device", "enable_device", "remove_device", "rotate_secret"],
)
def test_a_device_that_is_not_there_is_an_error(register: Register, operation: str) -> None:
    register.add_application("app1")
    register.ensure_guard_client("guard")
    for name in ("dev1", "app1", "guard", "", "\0"):
        with pytest.raises(NotFoundError):
            getattr(register, operation)(name)


def test_applications_are_added_listed_and_removed(register: Register) -> None:
    register.add_application(ApplicationWish("b", public=True))
    register.add_application("a")
    assert [(each.id, each.public) for each in register.list_applications()] == [
        ("a", False),
        ("b", True),
    ]
    register.remove_application("a")
    assert [each.id for each in register.list_applications()] == ["b"]
    register.add_device("dev1")
    for name in ("a", "dev1"):
        with pytest.raises(NotFoundError):
            register.remove_application(name)


def test_a_guard_client_is_made_once_and_then_given_new_secrets(register: Register) -> None:
    secrets = [register.ensure_guard_client("guard") for _ in range(2)]
    assert secrets[0] != secrets[1]
    assert [guard.id for guard in register.list_guard_clients()] == ["guard"]
    register.remove_guard_client("guard")
    assert register.list_guard_clients() == ()
    with pytest.raises(NotFoundError):
        register.remove_guard_client("guard")


def test_a_change_is_whole_or_not_at_all(register: Register, store: Store) -> None:
    def begin_and_fail() -> None:
        with store.transaction():
            store.revoke("dev1", issued_before=1, until=2, reason="disabled", now=0)
            register.show_device("dev1")

    with pytest.raises(NotFoundError):
        begin_and_fail()
    assert revocations(store) == []


def test_the_longest_scopes_still_make_a_token_that_guards_read(register: Register) -> None:
    from keyfob.server.scopes import MAX_SCOPE_LENGTH
    from keyfob.tokens.jws import MAX_TOKEN_BYTES
    from keyfob.tokens.sign import SigningKey

    room = MAX_SCOPE_LENGTH - len("mqtt.connect mqtt.publish:")
    with pytest.raises(ConfigError):
        register.add_device(DeviceWish("dev2", rights=Rights(publish=["x" * (room + 1)])))
    device = register.add_device(DeviceWish("dev1", rights=Rights(publish=["x" * room]))).device
    claims = {
        "iss": "https://" + "i" * 200,
        "sub": "s" * 128,
        "client_id": "c" * 128,
        "aud": "a" * 200,
        "iat": 1_800_000_000,
        "exp": 1_800_000_000,
        "jti": "j" * 22,
        "scope": " ".join(device.scopes),
    }
    assert len(SigningKey.generate("ES256").sign(claims)) <= MAX_TOKEN_BYTES
