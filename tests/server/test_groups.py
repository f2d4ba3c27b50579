# SPDX-License-Identifier: Apache-2.0
"""Groups: what they give to tokens, from when on, and what they never give."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.errors import ConfigError, ConflictError, NotFoundError, TopicError
from keyfob.server.fleet import Selection
from keyfob.server.groups import MAX_GROUPS
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ChangeWish, DeviceWish, Rights
from tests.server.world import World

pytestmark = pytest.mark.anyio


async def answer_of(world: World, device: str, secret: str, **more: str) -> dict[str, Any]:
    answer: dict[str, Any] = (await world.device_token(device, secret, **more)).json()
    return answer


async def test_a_token_says_the_devices_own_scopes_and_those_of_its_groups(world: World) -> None:
    world.register.fleet.add_group("a", publish=["up/{device}/#"], scopes=["billing"])
    world.register.fleet.add_group("b", subscribe=["down/{device}/+"])
    secret = world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["own"]), groups=["a", "b"])
    ).secret
    answer = await answer_of(world, "dev1", secret)
    assert answer["scope"].split() == [
        "mqtt.connect",
        "mqtt.publish:own",
        "mqtt.publish:up/dev1/#",
        "billing",
        "mqtt.subscribe:down/dev1/+",
    ]
    narrow = await answer_of(world, "dev1", secret, scope="mqtt.publish:up/dev1/x")
    assert narrow["scope"] == "mqtt.publish:up/dev1/x"
    other = await answer_of(world, "dev1", secret, scope="mqtt.publish:up/dev2/x")
    assert other["error"] == "invalid_scope"


async def test_what_changes_counts_from_the_next_token_on(world: World) -> None:
    fleet = world.register.fleet
    fleet.add_group("a", publish=["one"])
    secret = world.register.add_device(DeviceWish("dev1", groups=["a"])).secret
    assert "mqtt.publish:one" in (await answer_of(world, "dev1", secret))["scope"]
    fleet.set_group("a", {"publish": ("two",), "lifetime": 60})
    answer = await answer_of(world, "dev1", secret)
    assert (answer["scope"], answer["expires_in"]) == ("mqtt.connect mqtt.publish:two", 60)
    world.register.change_device("dev1", ChangeWish(out_of=["a"]))
    answer = await answer_of(world, "dev1", secret)
    assert (answer["scope"], answer["expires_in"]) == ("mqtt.connect", 3600)
    world.register.change_device("dev1", ChangeWish(into=["a"]))
    assert (await answer_of(world, "dev1", secret))["expires_in"] == 60
    fleet.remove_group("a")
    assert (await answer_of(world, "dev1", secret))["scope"] == "mqtt.connect"
    assert world.register.show_device("dev1").groups == ()


async def test_the_lifetime_is_the_devices_then_the_strictest_groups_then_the_servers(
    world: World,
) -> None:
    fleet = world.register.fleet
    fleet.add_group("long", lifetime=7200)
    fleet.add_group("short", lifetime=600)
    fleet.add_group("silent")
    for lifetime, groups, expected in (
        (900, ["short", "long"], 900),
        (None, ["long", "short", "silent"], 600),
        (None, ["long", "silent"], 7200),
        (None, ["silent"], 3600),
        (None, [], 3600),
    ):
        name = f"dev{lifetime}{len(groups)}"
        secret = world.register.add_device(
            DeviceWish(name, lifetime=lifetime, groups=groups)
        ).secret
        assert (await answer_of(world, name, secret))["expires_in"] == expected


async def test_groups_that_give_more_than_a_token_holds_need_a_narrower_request(
    world: World,
) -> None:
    for name in ("a", "b"):
        world.register.fleet.add_group(name, publish=[f"{name}/{n}" for n in range(100)])
    secret = world.register.add_device(DeviceWish("dev1", groups=["a", "b"])).secret
    assert (await answer_of(world, "dev1", secret))["error"] == "invalid_scope"
    assert world.events[-1].reason == "scope_too_long"
    assert "scope" in await answer_of(world, "dev1", secret, scope="mqtt.publish:b/7")


async def test_a_removed_device_leaves_nothing_to_a_later_one_of_its_name(world: World) -> None:
    world.register.fleet.add_group("a", publish=["one"])
    world.register.add_device(DeviceWish("dev1", groups=["a"], labels={"site": "ulm"}))
    world.register.remove_device("dev1")
    later = world.register.add_device("dev1").device
    assert (later.groups, later.labels) == ((), {})
    assert world.register.list_devices(Selection(group="a")) == ()


@pytest.mark.parametrize("changes", [{"publish": ("a/#/b",)}, {"subscribe": ("{x}",)}])
async def test_a_filter_that_is_none_changes_nothing(
    world: World, changes: dict[str, object]
) -> None:
    made = world.register.fleet.add_group("a", publish=["one"])
    with pytest.raises(TopicError):
        world.register.fleet.set_group("a", changes)
    assert world.register.fleet.show_group("a") == made


async def test_what_is_not_there_or_there_already_is_an_error(world: World) -> None:
    fleet = world.register.fleet
    fleet.add_group("a")
    with pytest.raises(ConflictError):
        fleet.add_group("a")
    for name in ("", "a b", "-a", "kfs_x", "x" * 65):
        with pytest.raises(ConfigError):
            fleet.add_group(name)
    for wrong in (0, 10**6):
        with pytest.raises(ConfigError):
            fleet.add_group("b", lifetime=wrong)
    for lookup in (fleet.show_group, fleet.remove_group):
        with pytest.raises(NotFoundError):
            lookup("b")
    with pytest.raises(NotFoundError):
        world.register.add_device(DeviceWish("dev1", groups=["b"]))
    assert world.register.list_devices() == ()


async def test_a_device_is_in_a_bounded_number_of_groups(world: World) -> None:
    names = [f"g{number}" for number in range(MAX_GROUPS + 1)]
    for name in names:
        world.register.fleet.add_group(name)
    world.register.add_device(DeviceWish("dev1", groups=names[1:]))
    with pytest.raises(ConfigError):
        world.register.change_device("dev1", ChangeWish(into=names[:1]))


async def test_a_revocation_outlives_tokens_from_before_a_lifetime_was_shortened(
    world: World,
) -> None:
    """Else a guard would forget it while such a token is still good."""
    secret = world.register.add_device(DeviceWish("dev1", lifetime=86_400)).secret
    document = await answer_of(world, "dev1", secret)
    assert document["expires_in"] == 86_400
    assert world.register.change_device("dev1", ChangeWish(lifetime=60)).lifetime == 60
    assert (await answer_of(world, "dev1", secret))["expires_in"] == 60
    world.register.disable_device("dev1")
    store = open_store(world.settings.database)
    (revocation,) = store.revocations_after(0, now=world.clock.now, limit=10)
    store.close()
    assert revocation.until > world.clock.now + 86_400
    assert world.register.change_device("dev1", ChangeWish(lifetime=0)).lifetime is None
    with pytest.raises(ConfigError):
        world.register.change_device("dev1", ChangeWish(lifetime=86_401))
